#include "proxy/pacemaker.hpp"

#include "proxy/worker_admission.hpp"

namespace eplb {

void Pacemaker::wait_until(TimePoint when) noexcept {
    if (timer_.armed() && due_ <= when) return;
    due_ = when;
    timer_.start_at(when);
}

Next Pacemaker::run() noexcept {
    if (timer_.take_fired()) admission_.on_room();
    return Next::wait;
}

}  // namespace eplb
