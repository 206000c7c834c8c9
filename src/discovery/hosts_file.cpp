#include "discovery/hosts_file.hpp"

#include "base/threads.hpp"
#include "discovery/name_source.hpp"
#include "eplb/reactor.hpp"

#include <algorithm>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <sys/stat.h>
#include <thread>
#include <utility>

namespace eplb::control {
namespace {

constexpr std::size_t most_bytes = std::size_t{16} * 1024 * 1024;
constexpr Duration fresh = std::chrono::seconds{1};
constexpr auto patience = std::chrono::milliseconds{100};
constexpr std::string_view blanks = " \t\r\f\v";

std::string key_of(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return NameQuestion{std::string{name}, 1}.key();
}

std::optional<Address> parse_host(std::string_view text) {
    if (text.find('%') != std::string_view::npos) return std::nullopt;  // an interface of its own
    const bool v6 = text.find(':') != std::string_view::npos;
    try {
        const std::string host{text};
        return Address::parse_unless_name(v6 ? "[" + host + "]:0" : host + ":0");
    } catch (const std::invalid_argument&) {
        return std::nullopt;
    }
}

std::string_view take_word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    const std::string_view word = line.substr(0, line.find_first_of(blanks));
    line.remove_prefix(word.size());
    return word;
}

// By which a file that has changed is told from one that has not.
struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = -1;
    timespec modified{};
    timespec changed{};

    [[nodiscard]] static Stamp of(const std::string& path) {
        struct stat status{};
        if (::stat(path.c_str(), &status) != 0) return {};
        return {status.st_dev, status.st_ino, status.st_size, status.st_mtim, status.st_ctim};
    }
    friend bool operator==(const Stamp& a, const Stamp& b) noexcept {
        const auto same = [](const timespec& x, const timespec& y) {
            return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
        };
        return a.device == b.device && a.inode == b.inode && a.size == b.size &&
               same(a.modified, b.modified) && same(a.changed, b.changed);
    }
};

}  // namespace

Hosts Hosts::parse(std::string_view text) {
    Hosts hosts;
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        line = line.substr(0, line.find('#'));
        const std::optional<Address> address = parse_host(take_word(line));
        if (!address) continue;
        for (std::string_view name = take_word(line); !name.empty(); name = take_word(line)) {
            std::vector<Address>& there = hosts.addresses_[key_of(name)];
            if (std::ranges::find(there, *address) == there.end() && there.size() < 1000)
                there.push_back(*address);
        }
    }
    return hosts;
}

Hosts Hosts::read(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    std::string text(std::size_t{64} * 1024, '\0');
    std::string all;
    while (file && all.size() < most_bytes) {
        file.read(text.data(), static_cast<std::streamsize>(text.size()));
        all.append(text.data(), static_cast<std::size_t>(file.gcount()));
    }
    return parse(all);
}

std::vector<Address> Hosts::find(std::string_view name) const {
    const auto found = addresses_.find(key_of(name));
    return found == addresses_.end() ? std::vector<Address>{} : found->second;
}

// What the thread and its owner share, until either is gone.
struct HostsFile::Reading : std::enable_shared_from_this<Reading> {
    std::mutex mutex;
    HostsFile* owner;  // nullptr: gone. Under the mutex
    std::string path;
    Stamp stamp;           // the thread's, or the owner's while there is none
    bool at_work = false;  // known to the owner only

    static void run(const std::shared_ptr<Reading>& self) {
        const Stamp now = Stamp::of(self->path);
        std::shared_ptr<const Hosts> found;
        if (!(now == self->stamp)) {
            try {
                found = std::make_shared<const Hosts>(Hosts::read(self->path));
            } catch (const std::exception&) {
                found = nullptr;  // no memory: what is known stays
            }
        }
        while (!self->hand_over(now, found)) std::this_thread::sleep_for(patience);
    }

    // False: there is no memory for the letter. The thread has the time to wait for some.
    [[nodiscard]] bool hand_over(const Stamp& now, const std::shared_ptr<const Hosts>& what) {
        const std::lock_guard lock{mutex};
        if (owner == nullptr) return true;
        try {
            owner->reactor_.post([self = shared_from_this(), now, what] { self->tell(now, what); });
            return true;
        } catch (const std::bad_alloc&) {
            return false;
        }
    }

    // On the owner's thread, so that it cannot go meanwhile.
    void tell(const Stamp& now, const std::shared_ptr<const Hosts>& what) {
        if (owner == nullptr) return;
        at_work = false;
        if (what) {
            stamp = now;
            owner->known_ = what;
        }
        owner->looked_at_ = owner->reactor_.now();
        if (const auto done = std::exchange(owner->done_, {})) done();
    }
};

HostsFile::HostsFile(Reactor& reactor, std::string path, std::shared_ptr<const Hosts> known)
    : reactor_{reactor},
      path_{std::move(path)},
      known_{std::move(known)},
      looked_at_{reactor.now()},
      reading_{std::make_shared<Reading>()} {
    reading_->owner = this;
    reading_->path = path_;
}

HostsFile::~HostsFile() {
    const std::lock_guard lock{reading_->mutex};
    reading_->owner = nullptr;
}

bool HostsFile::is_fresh() const noexcept { return reactor_.now() - looked_at_ < fresh; }

bool HostsFile::look(std::function<void()> done) {
    done_ = std::move(done);
    if (reading_->at_work) return true;
    try {
        start_without_signals("the hosts file", [reading = reading_] {
            Reading::run(reading);
        }).detach();
        reading_->at_work = true;
    } catch (const std::exception&) {
        done_ = {};
        looked_at_ = reactor_.now();  // not again at once
    }
    return reading_->at_work;
}

}  // namespace eplb::control
