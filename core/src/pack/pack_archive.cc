#include "pack_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>

#include "atomic_file.h"
#include "error.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

std::string reason(archive* of) {
  const char* text = archive_error_string(of);
  return text == nullptr ? "no reason is told" : printable(text);
}

/// Why an entry may not be unpacked; empty where it may.
std::string problem_of(archive_entry* entry, const std::string& name) {
  const std::string quoted = in_quotes(printable(name));
  if (!name.empty() && is_presentable(name)) {
    if (archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFLNK) {
      return "the link " + quoted;
    }
    const auto type = archive_entry_filetype(entry);
    if (type != AE_IFREG && type != AE_IFDIR) return "what is no plain file: " + quoted;
  }
  return problem_of_name(name);
}

/// Names are UTF-8, whatever the user's locale is: libarchive asks that of the thread.
class Utf8Names {
 public:
  Utf8Names() : utf8_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (utf8_ != nullptr) before_ = ::uselocale(utf8_);
  }
  ~Utf8Names() {
    if (utf8_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(utf8_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t utf8_, before_ = nullptr;
};

class Unpacking {
 public:
  Unpacking(const fs::path& file, const fs::path& folder, const ArchiveLimits& limits)
      : file_(file),
        folder_(folder),
        limits_(limits),
        reader_(archive_read_new(), archive_read_free) {
    archive_read_support_format_tar(reader_.get());
    archive_read_support_filter_zstd(reader_.get());
    archive_read_support_filter_gzip(reader_.get());
    constexpr std::size_t kBlock = 1 << 16;
    if (archive_read_open_filename(reader_.get(), file.c_str(), kBlock) != ARCHIVE_OK) {
      refuse("is damaged, or no pack: " + reason(reader_.get()));
    }
  }

  std::vector<std::string> run() {
    archive_entry* entry = nullptr;
    int status = ARCHIVE_OK;
    while ((status = archive_read_next_header(reader_.get(), &entry)) == ARCHIVE_OK) take(entry);
    if (status != ARCHIVE_EOF) refuse("is damaged, or no pack: " + reason(reader_.get()));
    return {names_.begin(), names_.end()};
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error(ExitCode::kInput, file_.string() + ": " + problem);
  }

  void take(archive_entry* entry) {
    const char* told = archive_entry_pathname(entry);
    const std::string name = told == nullptr ? "" : told;
    if (const std::string problem = problem_of(entry, name); !problem.empty()) {
      refuse("is refused: it holds " + problem);
    }
    if (++entries_ > limits_.files) {
      refuse("is refused: it holds more than " + std::to_string(limits_.files) + " entries");
    }
    if (archive_entry_filetype(entry) == AE_IFDIR) return;  // those of the files are made
    if (!names_.insert(name).second) refuse("is refused: it holds " + in_quotes(name) + " twice");
    std::error_code error;
    fs::create_directories((folder_ / name).parent_path(), error);
    std::ofstream out(folder_ / name, std::ios::binary);
    if (error || !out)
      refuse("is refused: it holds a folder and a file of one name, " + in_quotes(name));
    copy_contents(out);
    out.close();
    if (!out) throw Error(ExitCode::kFailure, (folder_ / name).string() + ": cannot be written");
  }

  void copy_contents(std::ofstream& out) {
    char block[1 << 16];
    for (;;) {
      const auto read = archive_read_data(reader_.get(), block, sizeof block);
      if (read == 0) return;
      if (read < 0) refuse("is damaged: " + reason(reader_.get()));
      bytes_ += read;
      if (bytes_ > limits_.bytes) {
        refuse("is refused: it unpacks to more than " + std::to_string(limits_.bytes >> 20) +
               " MiB");
      }
      out.write(block, read);
    }
  }

  const fs::path& file_;
  const fs::path& folder_;
  const ArchiveLimits limits_;
  Reader reader_;
  std::set<std::string> names_;
  std::int64_t entries_ = 0, bytes_ = 0;
};

}  // namespace

std::string problem_of_name(const std::string& name) {
  if (name.empty()) return "an entry without a name";
  const std::string quoted = in_quotes(printable(name));
  if (!is_presentable(name)) return "a name with control characters, or not in UTF-8: " + quoted;
  const fs::path path(name);
  if (path.is_absolute()) return "an absolute name: " + quoted;
  if (name.size() > 200) return "a name of more than 200 bytes: " + quoted;
  for (const fs::path& part : path) {
    if (part == ".." || part == ".") return "a name with '" + part.string() + "': " + quoted;
  }
  return "";
}

void write_archive(const fs::path& file, const fs::path& folder,
                   const std::vector<std::string>& files) {
  const Utf8Names names;
  replace_file(file, [&](const fs::path& temporary) {
    const std::unique_ptr<archive, int (*)(archive*)> writer(archive_write_new(),
                                                             archive_write_free);
    const auto must = [&](int status) {
      if (status == ARCHIVE_OK) return;
      throw Error(ExitCode::kFailure,
                  file.string() + ": cannot be written: " + reason(writer.get()));
    };
    must(archive_write_set_format_pax_restricted(writer.get()));
    must(archive_write_add_filter_zstd(writer.get()));
    must(archive_write_open_filename(writer.get(), temporary.c_str()));
    for (const std::string& name : files) {
      const std::string text = read_text(folder / name);
      const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                           archive_entry_free);
      archive_entry_set_pathname(entry.get(), name.c_str());
      archive_entry_set_size(entry.get(), static_cast<la_int64_t>(text.size()));
      archive_entry_set_filetype(entry.get(), AE_IFREG);
      archive_entry_set_perm(entry.get(), 0644);
      archive_entry_set_mtime(entry.get(), 0, 0);
      must(archive_write_header(writer.get(), entry.get()));
      if (archive_write_data(writer.get(), text.data(), text.size()) !=
          static_cast<la_ssize_t>(text.size())) {
        must(ARCHIVE_FATAL);
      }
    }
    must(archive_write_close(writer.get()));
  });
}

std::vector<std::string> unpack_archive(const fs::path& archive, const fs::path& folder,
                                        const ArchiveLimits& limits) {
  if (std::error_code error; !fs::is_regular_file(archive, error)) {
    throw Error(ExitCode::kInput, archive.string() + ": there is no such file");
  }
  const Utf8Names names;
  return Unpacking(archive, folder, limits).run();
}

}  // namespace bitfall
