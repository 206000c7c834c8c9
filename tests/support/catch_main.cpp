// Catch's main() and a listener, once for all test executables.

#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#endif
#include "support/catch.hpp"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace {

#if EPLB_CATCH2_V3
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

/// Appends "<executable> <passed> <failed> <skipped>", counting test cases, to the file that
/// EPLB_TEST_COUNTS names, so that a script can add up what really ran.
class CountListener final : public ListenerBase {
public:
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo& info) override {
        ListenerBase::testCaseStarting(info);
        eplb::test::current_test_case_skipped = false;
    }

    void testCaseEnded(const Catch::TestCaseStats& stats) override {
        // Both versions may run a test case to its end although a skip was asked for in one of its
        // sections: a failure elsewhere in it counts for more.
        if (stats.totals.assertions.failed > 0) {
            ++failed_;
        } else if (eplb::test::current_test_case_skipped) {
            ++skipped_;
        } else {
            ++passed_;
        }
        ListenerBase::testCaseEnded(stats);
    }

    void testRunEnded(const Catch::TestRunStats& stats) override {
        write_counts();
        ListenerBase::testRunEnded(stats);
    }

private:
    void write_counts() const {
        const char* const path = std::getenv("EPLB_TEST_COUNTS");
        if (path == nullptr || *path == '\0') return;

        std::error_code ignored;
        const std::string name =
            std::filesystem::read_symlink("/proc/self/exe", ignored).filename().string();
        const std::string line = name + ' ' + std::to_string(passed_) + ' ' +
                                 std::to_string(failed_) + ' ' + std::to_string(skipped_) + '\n';
        // One write(2) with O_APPEND: executables that run side by side do not mix their lines.
        const int fd = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) return;
        [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
        ::close(fd);
    }

    int passed_ = 0;
    int failed_ = 0;
    int skipped_ = 0;
};

}  // namespace

CATCH_REGISTER_LISTENER(CountListener)

#if EPLB_CATCH2_V3
int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#endif
