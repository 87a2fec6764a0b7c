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

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

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

void limit_memory(std::int64_t more) {
  std::int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  ::getrlimit(RLIMIT_AS, &limit);
  const auto wanted = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + more);
  if (limit.rlim_max == RLIM_INFINITY || wanted < limit.rlim_max) limit.rlim_cur = wanted;
  ::setrlimit(RLIMIT_AS, &limit);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

}  // namespace bitfall
