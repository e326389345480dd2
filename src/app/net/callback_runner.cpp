#include "net/callback_runner.hpp"

#include <random>

#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/command.hpp"
#include "securatlas/pg/net/callbacks.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kTimeForOrder = std::chrono::seconds(1);

}  // namespace

pg::CallbackReport CallbackRunner::execute(const pg::CallbackOrder& order) {
    pg::CallbackReport report;
    report.order = order;
    const core::Duration until = pg::monotonic_now() + kTimeForOrder;
    std::random_device random;
    pg::callbacks::Place place;
    try {
        while (pg::monotonic_now() < until) {
            const double part = std::generate_canonical<double, 32>(random);
            const bool is_alert = order.calls == pg::Calls::alerts;
            const auto step = is_alert
                                  ? pg::alerts::tell_next(order.role, part)
                                  : pg::callbacks::call_next(order.role, careful_, part, place);
            if (!step.called) {
                report.next_due = step.next.value_or(core::kNever);
                report.finished = true;
                break;
            }
            if (!is_alert) careful_ = false;
            pg::reset_session();
        }
        if (!report.finished) report.next_due = pg::now();
        report.finished = true;
    } catch (const std::exception& error) {
        pg::assign_text(report.message, error.what());
    }
    pg::report_idle();
    return report;
}

}  // namespace securatlas::app
