#include "git_process.hpp"

#include "printable.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

extern char** environ;

namespace code_search {

namespace {

constexpr std::size_t chunk = std::size_t{1} << 16;
constexpr int poll_milliseconds = 100;

std::string reason(int error) { return std::generic_category().message(error); }

/// Both ends close on exec: another thread may start another git at any moment.
std::array<int, 2> make_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw GitError("cannot make a pipe: " + reason(errno));
    return ends;
}

/// What posix_spawn does in the child before it becomes git.
class SpawnPlan {
  public:
    SpawnPlan() {
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        sigset_t none;
        sigset_t pipe_signal;
        sigemptyset(&none);
        sigemptyset(&pipe_signal);
        sigaddset(&pipe_signal, SIGPIPE);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
        // In a group of its own: Ctrl-C is for this program, which then ends in order.
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETPGROUP);
    }
    ~SpawnPlan() {
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
};

} // namespace

GitProcess::GitProcess(const std::string& clone, std::vector<std::string> arguments, Input input,
                       const std::atomic<bool>* stop)
    : name_("git " + arguments.front()), stop_(stop), errors_(std::tmpfile()) {
    if (!errors_) throw GitError("cannot make a temporary file: " + reason(errno));

    // Signatures in the log would be in the way, and so would diffs of merges left out by habit.
    arguments.insert(arguments.begin(), {"git", "-C", clone, "-c", "log.showSignature=false", "-c",
                                         "log.diffMerges=first-parent"});
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);

    SpawnPlan plan;
    const std::array<int, 2> output = make_pipe();
    std::array<int, 2> requests{-1, -1};
    posix_spawn_file_actions_adddup2(&plan.actions, output[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&plan.actions, fileno(errors_.get()), STDERR_FILENO);
    if (input == Input::pipe) {
        requests = make_pipe();
        posix_spawn_file_actions_adddup2(&plan.actions, requests[0], STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    const int error =
        posix_spawnp(&process_, "git", &plan.actions, &plan.attributes, words.data(), environ);
    close(output[1]);
    output_ = output[0];
    if (input == Input::pipe) {
        close(requests[0]);
        input_ = requests[1];
    }
    if (error != 0) {
        process_ = -1;
        close(output_);
        if (input_ >= 0) close(input_);
        throw GitError("cannot run git: " + reason(error));
    }
}

GitProcess::~GitProcess() {
    if (process_ > 0) kill(process_, SIGTERM);
    wait();
}

bool GitProcess::read_until(char end, std::string& piece) {
    piece.clear();
    while (true) {
        const std::size_t found = buffer_.find(end, position_);
        if (found != std::string::npos) {
            piece.append(buffer_, position_, found - position_);
            position_ = found + 1;
            return true;
        }
        piece.append(buffer_, position_);
        if (!fill()) {
            if (!piece.empty()) fail("output ends in the middle");
            return false;
        }
    }
}

std::string GitProcess::read_bytes(std::size_t size) {
    std::string bytes;
    bytes.reserve(size);
    while (true) {
        const std::size_t taken = std::min(size - bytes.size(), buffer_.size() - position_);
        bytes.append(buffer_, position_, taken);
        position_ += taken;
        if (bytes.size() == size) return bytes;
        if (!fill()) fail("output ends in the middle");
    }
}

bool GitProcess::fill() {
    position_ = 0;
    buffer_.clear();
    while (true) {
        if (stop_ != nullptr && *stop_) throw Interrupted{};
        pollfd waiting{output_, POLLIN, 0};
        const int ready = poll(&waiting, 1, poll_milliseconds);
        if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
        buffer_.resize(chunk);
        const ssize_t count = read(output_, buffer_.data(), buffer_.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail("cannot read: " + reason(errno));
        buffer_.resize(static_cast<std::size_t>(count));
        return count > 0;
    }
}

void GitProcess::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(input_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail("cannot write: " + reason(errno));
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

int GitProcess::wait() {
    if (input_ >= 0) close(std::exchange(input_, -1));
    if (output_ >= 0) close(std::exchange(output_, -1));
    int status = 0;
    if (process_ > 0) {
        while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
        }
        process_ = -1;
    }
    return status;
}

void GitProcess::finish() {
    const int status = wait();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    fail(WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                           : "ended by signal " + std::to_string(WTERMSIG(status)));
}

void GitProcess::fail(const std::string& problem) {
    if (process_ > 0) kill(process_, SIGTERM);
    wait();
    const std::string words = said();
    throw GitError(name_ + ": " + (words.empty() ? problem : words));
}

std::string GitProcess::said() const {
    std::array<char, 4096> text{};
    std::rewind(errors_.get());
    const std::size_t size = std::fread(text.data(), 1, text.size(), errors_.get());
    std::string_view words(text.data(), size);
    const std::size_t fatal = words.find("fatal: "); // warnings may stand before it
    if (fatal != std::string_view::npos) words.remove_prefix(fatal);
    return printable(words.substr(0, words.find('\n')));
}

} // namespace code_search
