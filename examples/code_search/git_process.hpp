#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace code_search {

/// A git that could not be run, failed, or said something unexpected; `what()` is one line.
struct GitError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Thrown out of a wait for git when the run is to stop.
struct Interrupted {};

/// A running git, started without a shell. What it prints is read here; if asked for, it also
/// reads what is written here.
class GitProcess {
  public:
    enum class Input { none, pipe };

    /// Starts `git -C clone arguments...`. Reading throws `Interrupted` once `*stop` is set, if
    /// there is a `stop`.
    GitProcess(const std::string& clone, std::vector<std::string> arguments, Input input,
               const std::atomic<bool>* stop);

    /// Ends the process if it still runs.
    ~GitProcess();

    GitProcess(const GitProcess&) = delete;
    GitProcess& operator=(const GitProcess&) = delete;

    /// Reads up to the next `end`, which is dropped. Returns false where the output has ended.
    bool read_until(char end, std::string& piece);

    /// Reads `size` bytes.
    std::string read_bytes(std::size_t size);

    /// Blocks while the pipe is full: callers keep what is unanswered below `PIPE_BUF` bytes.
    void write(std::string_view bytes);

    /// Waits for the end; anything but exit status 0 throws what git said.
    void finish();

    /// Throws a `GitError` with git's own words, or else `problem`.
    [[noreturn]] void fail(const std::string& problem);

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    bool fill();
    int wait();
    std::string said() const;

    std::string name_;
    const std::atomic<bool>* stop_;
    pid_t process_ = -1;
    int input_ = -1;
    int output_ = -1;
    std::unique_ptr<std::FILE, Close> errors_; // a file, since a pipe that nobody reads can fill
    std::string buffer_;
    std::size_t position_ = 0;
};

} // namespace code_search
