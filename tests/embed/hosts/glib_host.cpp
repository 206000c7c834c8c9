// A reactor in a program around GLib's main loop, as those with GTK are.

#include "eplb/reactor.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <glib-unix.h>
#include <glib.h>

class NestedReactor {
public:
    explicit NestedReactor(eplb::Reactor& reactor, GMainContext* context = nullptr)
        : source_{g_source_new(&functions, sizeof(Source))} {
        static_cast<Source*>(source_)->reactor = &reactor;
        g_source_add_unix_fd(source_, reactor.fd(), G_IO_IN);
        g_source_attach(source_, context);
    }
    ~NestedReactor() {
        g_source_destroy(source_);
        g_source_unref(source_);
    }

private:
    struct Source : GSource {
        eplb::Reactor* reactor;
    };

    // Before GLib sleeps. Rounded up, or the last fraction of a millisecond would be a busy loop.
    static gboolean prepare(GSource* source, int* timeout) noexcept {
        const eplb::Duration wait = static_cast<Source*>(source)->reactor->wait_time();
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
        *timeout = wait < eplb::Duration{0} ? -1 : static_cast<int>(std::min<long>(ms, INT_MAX));
        return *timeout == 0;
    }
    // noexcept, because an exception may not pass through C.
    static gboolean dispatch(GSource* source, GSourceFunc, gpointer) noexcept {
        static_cast<Source*>(source)->reactor->run_once(eplb::Duration{0});
        return G_SOURCE_CONTINUE;
    }
    // No check(): GLib looks at the descriptor itself, and prepare() sees that a timer is due.
    static inline GSourceFuncs functions{prepare, nullptr, dispatch, nullptr, nullptr, nullptr};

    GSource* source_;
};

// --- the program

#include "service.hpp"

int main(int argc, char** argv) {
    const Options options{argc, argv};
    GMainLoop* const loop = g_main_loop_new(nullptr, FALSE);
    if (options.beat.count() > 0) {
        const auto on_time = [](gpointer) -> gboolean { return beat(), G_SOURCE_CONTINUE; };
        g_timeout_add(static_cast<guint>(options.beat.count()), on_time, nullptr);
    }

    const CountingClock clock;
    eplb::Reactor reactor{clock};
    const NestedReactor nested{reactor};
    const Service service{reactor, options.tick, [&] { g_main_loop_quit(loop); }};
    g_main_loop_run(loop);
    g_main_loop_unref(loop);
}
