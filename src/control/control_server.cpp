#include "control/control_server.hpp"

#include "control/control_protocol.hpp"
#include "eplb/reactor.hpp"
#include "eplb/task.hpp"
#include "eplb/timer.hpp"
#include "eplb/watch.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <exception>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace eplb::control {
namespace {

constexpr Duration patience = std::chrono::seconds{5};
constexpr mode_t owner_only = 0600;

}  // namespace

/// reading -> thinking: a whole line has come; thinking -> writing: the answer is there; thinking ->
/// given_up: there will be none. Gone when the answer is written, the client has left, its time is up,
/// or there is no memory for it: the process is full of sessions that need no control.
class ControlServer::Client final : public Task, public std::enable_shared_from_this<Client> {
public:
    Client(ControlServer& server, Fd socket)
        : server_{server},
          socket_{std::move(socket)},
          watch_{server.reactor_, *this},
          timer_{server.reactor_, *this} {}

    [[nodiscard]] bool start() noexcept {
        timer_.start(patience);
        return watch_.attach(socket_.get()) == 0;
    }

    Next run() noexcept override {
        try {
            // What came in time is in time, even if it is we who are late to look.
            const Next next = look();
            return next == Next::wait && timer_.take_fired() ? Next::done : next;
        } catch (const std::exception&) {
            return Next::done;
        }
    }

    void retire() noexcept override { server_.on_gone(*this); }

private:
    enum class State : std::uint8_t { reading, thinking, writing, given_up };

    // Held by all who may still answer. When the last of them is gone without a word, be it that there
    // was no memory for one, the client need not wait any longer.
    class Owed {
    public:
        explicit Owed(std::weak_ptr<Client> client) noexcept : client_{std::move(client)} {}
        ~Owed() {
            if (const auto client = client_.lock()) client->give_up();
        }
        Owed(const Owed&) = delete;
        Owed& operator=(const Owed&) = delete;

        void answer(std::string line) noexcept {
            if (const auto client = client_.lock()) client->answer(std::move(line));
            client_.reset();
        }

    private:
        std::weak_ptr<Client> client_;
    };

    Next look() {
        switch (state_) {
        case State::reading: return read();
        case State::thinking: return watch_.hung_up() && watch_.failed() ? Next::done : Next::wait;
        case State::writing: return write();
        case State::given_up: return Next::done;
        }
        return Next::done;
    }

    Next read() {
        std::array<char, 4096> buffer;
        while (watch_.readable()) {
            const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
            if (got == 0) return Next::done;
            if (got < 0) {
                if (errno != EAGAIN) return Next::done;
                watch_.clear_readable();
                break;
            }
            text_.append(buffer.data(), static_cast<std::size_t>(got));
            if (const std::size_t end = text_.find('\n'); end != std::string::npos) {
                text_.resize(end);
                return think();
            }
            if (text_.size() > most_request_bytes) return Next::done;
        }
        return Next::wait;
    }

    Next think() {
        state_ = State::thinking;
        timer_.cancel();  // what it asked for may take as long as a name server does
        const std::string line = std::exchange(text_, {});
        server_.handler_(line, [owed = std::make_shared<Owed>(weak_from_this())](
                                   std::string answer) { owed->answer(std::move(answer)); });
        return Next::wait;
    }

    void give_up() noexcept {
        state_ = State::given_up;
        server_.reactor_.schedule(*this);
    }

    void answer(std::string line) noexcept {
        text_ = std::move(line);
        state_ = State::writing;
        timer_.start(patience);
        server_.reactor_.schedule(*this);
    }

    Next write() noexcept {
        while (written_ < text_.size()) {
            const ssize_t put = ::send(socket_.get(), text_.data() + written_,
                                       text_.size() - written_, MSG_NOSIGNAL);
            if (put < 0) return errno == EAGAIN ? Next::wait : Next::done;
            written_ += static_cast<std::size_t>(put);
        }
        return Next::done;
    }

    ControlServer& server_;
    Fd socket_;
    Watch watch_;
    Timer timer_;
    State state_ = State::reading;
    std::string text_;  // what came, and then what is to be said
    std::size_t written_ = 0;
};

ControlServer::ControlServer(Reactor& reactor, const Address& address, Handler handler)
    : reactor_{reactor}, address_{address}, handler_{std::move(handler)} {
    ListenOptions options;
    options.backlog = 128;
    options.mode = owner_only;
    acceptor_ = std::make_unique<Acceptor>(
        reactor, listen_on(address, options),
        [this](Fd socket, const Address&) { on_accept(std::move(socket)); }, [](int) {},
        Acceptor::Places{[this] { return clients_.size() < most_clients; }, [] {}});
    struct stat status{};
    if (!address.path().starts_with('@') && ::lstat(address.path().c_str(), &status) == 0) {
        device_ = status.st_dev;
        inode_ = status.st_ino;
    }
}

ControlServer::~ControlServer() { close(); }

// What is at the path may be another one's by now: a successor's, who took it for stale.
void ControlServer::close() noexcept {
    if (!acceptor_) return;
    acceptor_.reset();
    struct stat status{};
    if (inode_ != 0 && ::lstat(address_.path().c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        ::unlink(address_.path().c_str());
    }
}

// Whoever comes when there is no memory is sent away.
void ControlServer::on_accept(Fd socket) noexcept {
    try {
        const auto client = std::make_shared<Client>(*this, std::move(socket));
        clients_.push_back(client);
        if (!client->start()) clients_.pop_back();
    } catch (const std::exception&) {
        return;
    }
}

void ControlServer::on_gone(const Client& client) noexcept {
    std::erase_if(clients_, [&](const auto& other) { return other.get() == &client; });
    if (acceptor_) acceptor_->resume();
}

}  // namespace eplb::control
