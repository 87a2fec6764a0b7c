#include "sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <sstream>

namespace bitfall {
namespace {

// Of the kernel's own numbering, which does not change; older headers lack some.
constexpr std::uint64_t kExecute = 1u << 0, kWriteFile = 1u << 1, kReadFile = 1u << 2,
                        kReadFolder = 1u << 3,
                        kChangeFolders = 0x1FF0,  // remove and make, of all kinds
    kRefer = 1u << 13, kTruncate = 1u << 14;
constexpr std::uint64_t kWriting = kWriteFile | kChangeFolders | kRefer | kTruncate;
constexpr std::uint64_t kReading = kExecute | kReadFile | kReadFolder;

int landlock_abi() {
  return static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

// What this kernel knows of them.
std::uint64_t known(std::uint64_t rights, int abi) {
  if (abi < 2) rights &= ~kRefer;
  if (abi < 3) rights &= ~kTruncate;
  return rights;
}

std::string restrict_files(std::uint64_t handled, std::uint64_t allowed,
                           const std::vector<std::filesystem::path>& paths) {
  const int abi = landlock_abi();
  if (abi < 1) {
    return errno == EOPNOTSUPP ? "no Landlock (switched off in this kernel)"
                               : "no Landlock (not in this kernel)";
  }
  const std::uint64_t rights = known(handled, abi);
  const int rules =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0));
  if (rules < 0) return std::string("no Landlock (") + std::strerror(errno) + ")";
  for (const auto& path : paths) {
    const int place = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    if (place < 0) continue;
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(path, ignored);
    landlock_path_beneath_attr rule{};
    rule.allowed_access = known(allowed, abi) & rights;
    if (!folder) rule.allowed_access &= kExecute | kReadFile | kWriteFile | kTruncate;
    rule.parent_fd = place;
    ::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    ::close(place);
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const bool done = ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  const int error = errno;
  ::close(rules);
  return done ? "Landlock ABI " + std::to_string(abi)
              : std::string("no Landlock (") + std::strerror(error) + ")";
}

constexpr std::array kForbidden = {SYS_socket,           SYS_socketpair,        SYS_connect,
                                   SYS_execve,           SYS_execveat,          SYS_ptrace,
                                   SYS_process_vm_readv, SYS_process_vm_writev, SYS_io_uring_setup};

#if defined(__x86_64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kMachine = 0;
#endif

/// The whole number behind this word, the first of a line; of an empty word: at the file's begin.
std::optional<std::int64_t> number_after(const std::filesystem::path& file,
                                         const std::string& word) {
  std::ifstream in(file);
  std::string line, first;
  std::int64_t number = 0;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    if ((word.empty() || (words >> first && first == word)) && words >> number) return number;
  }
  return std::nullopt;
}

/// Of cgroup v2: the folder of this process's group, as far as a container lets it be seen.
std::filesystem::path own_control_group() {
  const std::filesystem::path all = "/sys/fs/cgroup";
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::/")) continue;
    const std::filesystem::path own = all / line.substr(4);
    std::error_code ignored;
    if (std::filesystem::exists(own / "memory.max", ignored)) return own;
  }
  return all;
}

}  // namespace

std::string allow_writing_only_below(const std::vector<std::filesystem::path>& folders) {
  std::vector<std::filesystem::path> places = folders;
  places.emplace_back("/dev/null");
  return restrict_files(kWriting, kWriting, places);
}

std::string allow_reading_only(const std::vector<std::filesystem::path>& paths) {
  return restrict_files(kWriting | kReading, kReading, paths);
}

std::string forbid_sockets_and_programs() {
  if (kMachine == 0) return "no seccomp (not for this kind of processor)";
  std::array<sock_filter, 8 + 2 * kForbidden.size()> program{};
  std::size_t size = 0;
  const auto add = [&](sock_filter step) { program[size++] = step; };
  add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kMachine, 1, 0));
  add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));  // calls of another numbering
  add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  add(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));  // x32 on x86-64
  add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  for (const long call : kForbidden) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog filter{};
  filter.len = static_cast<unsigned short>(size);
  filter.filter = program.data();
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const long other =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
  if (other == 0) return "seccomp";
  return std::string("no seccomp (") +
         (other > 0 ? "a thread has a filter of its own" : std::strerror(errno)) + ")";
}

// RLIMIT_DATA counts what can be written and is not shared. RLIMIT_AS would count what threads and
// drivers only reserve, which grows with the number of cores.
void limit_memory(std::int64_t more) {
  std::int64_t skipped = 0, pages = 0;
  std::ifstream counts("/proc/self/statm");
  for (int i = 0; i < 5; ++i) counts >> skipped;
  counts >> pages;  // those of data and stack
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  const auto wanted = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + more);
  limit.rlim_cur = std::min(limit.rlim_cur, wanted);  // RLIM_INFINITY is the largest number
  ::setrlimit(RLIMIT_DATA, &limit);
}

MemoryLimit::MemoryLimit(std::optional<std::int64_t> more) {
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  before_ = limit.rlim_cur;
  if (more) limit_memory(*more);
}

MemoryLimit::~MemoryLimit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_cur = before_;
  ::setrlimit(RLIMIT_DATA, &limit);
}

void forbid_core_files() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

std::optional<std::int64_t> free_memory() {
  std::optional<std::int64_t> least = number_after("/proc/meminfo", "MemAvailable:");
  if (least) *least *= 1024;
  const std::filesystem::path group = own_control_group();
  const auto most = number_after(group / "memory.max", "");
  const auto taken = number_after(group / "memory.current", "");
  if (most && taken) {
    // What the group has read of files can be given back.
    const std::int64_t cached = number_after(group / "memory.stat", "inactive_file").value_or(0);
    const std::int64_t left = std::max<std::int64_t>(*most - *taken + cached, 0);
    least = std::min(least.value_or(left), left);
  }
  return least;
}

std::optional<std::int64_t> memory_for_plugins() {
  std::optional<std::int64_t> most = free_memory();
  if (most) most = *most / 10 * 9;
  return most;
}

}  // namespace bitfall
