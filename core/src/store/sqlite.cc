#include "sqlite.h"

#include <sqlite3.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "error.h"

namespace bitfall {
namespace {

constexpr int kBusyMilliseconds = 10'000;

int flags_of(Database::Mode mode) {
  switch (mode) {
    case Database::Mode::kCreate:
      return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW;
    case Database::Mode::kWrite:
      return SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW;
    case Database::Mode::kRead:
      return SQLITE_OPEN_READONLY;
    case Database::Mode::kImmutable:
      return SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
  }
  return 0;
}

std::string uri_of(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      constexpr char kDigits[] = "0123456789abcdef";
      uri += {'%', kDigits[(c >> 4) & 15], kDigits[c & 15]};
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

/// The path without links among the folders, which SQLite would refuse together with one in place
/// of the file.
std::string true_name(const std::filesystem::path& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  const auto folder = std::filesystem::canonical(absolute.parent_path(), error);
  return error ? path.string() : (folder / path.filename()).string();
}

/// What SQLite's page on files from strangers asks for (sqlite.org/security.html).
void distrust(sqlite3* handle) {
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
}

}  // namespace

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
void Statement::Finalize::operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path) {
  const std::string name = mode == Mode::kImmutable ? uri_of(path) : true_name(path);
  sqlite3* handle = nullptr;
  const int flags = flags_of(mode) | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) fail();
  sqlite3_busy_timeout(handle, kBusyMilliseconds);
  distrust(handle);
  sqlite3_exec(handle, "PRAGMA cell_size_check = ON", nullptr, nullptr, nullptr);
}

void Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

bool Database::has_table(const std::string& name) const {
  Statement row(*this, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?");
  return row.bind(std::string_view(name)).step();
}

std::string Database::text(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.text(0) : "";
}

std::int64_t Database::integer(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

bool Database::in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

bool Database::moved() const {
  int moved = 0;
  sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

void Database::fail() const {
  const int last = errno;
  if (!handle_) throw Error(ExitCode::kFailure, path_.string() + ": out of memory");
  const int code = sqlite3_errcode(handle_.get());
  const bool damaged = code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR;
  if (sqlite3_extended_errcode(handle_.get()) == SQLITE_CANTOPEN_SYMLINK) {
    throw Error(ExitCode::kFailure,
                path_.string() + ": is a symbolic link, and nothing is written through one");
  }
  std::string message = path_.string() + (damaged ? ": is damaged or not a campaign: " : ": ") +
                        sqlite3_errmsg(handle_.get());
  // SQLite remembers the system's error for some calls only; after a failed write errno still
  // holds it.
  int system = sqlite3_system_errno(handle_.get());
  if (system == 0 && code == SQLITE_IOERR) system = last;
  const bool of_system = code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_FULL;
  if (of_system && system != 0) message += std::string(" (") + std::strerror(system) + ")";
  throw Error(damaged ? ExitCode::kInput : ExitCode::kFailure, message);
}

Statement::Statement(const Database& database, const std::string& sql) : database_(&database) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(database.handle(), sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                                      &handle, nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) database.fail();
}

void Statement::check_bind(int code) {
  if (code == SQLITE_OK) return;
  next_ = 1;
  database_->fail();
}

Statement& Statement::bind(std::int64_t value) {
  check_bind(sqlite3_bind_int64(handle_.get(), next_++, value));
  return *this;
}

Statement& Statement::bind(double value) {
  constexpr double kMost = 0x1p47;  // an integer beyond 6 bytes saves nothing
  if (std::abs(value) < kMost && value == std::trunc(value) &&
      !(value == 0 && std::signbit(value))) {
    return bind(static_cast<std::int64_t>(value));
  }
  check_bind(sqlite3_bind_double(handle_.get(), next_++, value));
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  check_bind(sqlite3_bind_text64(handle_.get(), next_++, value.data() ? value.data() : "",
                                 value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_null() {
  check_bind(sqlite3_bind_null(handle_.get(), next_++));
  return *this;
}

Statement& Statement::bind_blob(std::string_view bytes) {
  if (bytes.empty()) return bind_empty_blob();
  check_bind(
      sqlite3_bind_blob64(handle_.get(), next_++, bytes.data(), bytes.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_real(double value) {
  check_bind(sqlite3_bind_double(handle_.get(), next_++, value));
  return *this;
}

Statement& Statement::bind_empty_text() {
  check_bind(sqlite3_bind_text(handle_.get(), next_++, "", 0, SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind_empty_blob() {
  check_bind(sqlite3_bind_zeroblob(handle_.get(), next_++, 0));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_->fail();
  return false;
}

void Statement::run() {
  const int code = sqlite3_step(handle_.get());
  reset();  // keeps the code of a failed step for fail()
  if (code != SQLITE_DONE) database_->fail();
}

bool Statement::insert() {
  const int code = sqlite3_step(handle_.get());
  reset();
  if (code == SQLITE_DONE) return true;
  const int extended = sqlite3_extended_errcode(database_->handle());
  if (extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_ROWID) return false;
  database_->fail();
}

void Statement::reset() {
  sqlite3_reset(handle_.get());
  next_ = 1;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

double Statement::real(int column) const {
  if (is_null(column)) return std::numeric_limits<double>::quiet_NaN();
  return sqlite3_column_double(handle_.get(), column);
}

std::string Statement::text(int column) const {
  const void* text = sqlite3_column_type(handle_.get(), column) == SQLITE_BLOB
                         ? sqlite3_column_blob(handle_.get(), column)
                         : static_cast<const void*>(sqlite3_column_text(handle_.get(), column));
  if (!text) return "";
  return std::string(static_cast<const char*>(text),
                     static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column)));
}

Cell Statement::cell(int column) const {
  switch (sqlite3_column_type(handle_.get(), column)) {
    case SQLITE_INTEGER:
      return Cell::kInteger;
    case SQLITE_FLOAT:
      return Cell::kReal;
    case SQLITE_TEXT:
      return sqlite3_column_bytes(handle_.get(), column) == 0 ? Cell::kEmptyText : Cell::kText;
    case SQLITE_BLOB:
      return sqlite3_column_bytes(handle_.get(), column) == 0 ? Cell::kEmptyBlob : Cell::kBlob;
    default:
      return Cell::kNull;
  }
}

int Statement::columns() const { return sqlite3_column_count(handle_.get()); }

void Statement::append_value(int column, std::string& bytes) const {
  const int type = sqlite3_column_type(handle_.get(), column);
  bytes += static_cast<char>(type);
  const auto append = [&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
  };
  if (type == SQLITE_INTEGER) {
    const std::int64_t value = integer(column);
    append(&value, sizeof value);
  } else if (type == SQLITE_FLOAT) {
    const double value = real(column);
    append(&value, sizeof value);
  } else if (type != SQLITE_NULL) {
    const void* data = sqlite3_column_blob(handle_.get(), column);
    const auto size = static_cast<std::uint64_t>(sqlite3_column_bytes(handle_.get(), column));
    append(&size, sizeof size);
    if (size > 0) append(data, size);
  }
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

}  // namespace bitfall
