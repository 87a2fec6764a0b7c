// SQLite's C interface with owners and exceptions. Only the store's files include this.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace bitfall {

/// An open SQLite file, of any origin: no view, trigger or function that its schema names is run,
/// and nothing is written through a symbolic link. Every failure throws Error with the file's path
/// and SQLite's message: kInput when the file is no database or is damaged, else kFailure (disk
/// full, locked, read-only). One thread at a time uses it and its statements.
class Database {
 public:
  enum class Mode {
    kCreate,     // a new file, or an existing one for writing
    kWrite,      // an existing file
    kRead,       // an existing file, only for reading
    kImmutable,  // only for reading, where nothing can be written next to the file
  };
  Database(const std::filesystem::path& path, Mode mode);

  /// One or more statements without results.
  void execute(const std::string& sql);
  /// The first column of the first row as text; "" without a row.
  std::string text(const std::string& sql);
  std::int64_t integer(const std::string& sql);

  bool in_transaction() const;
  /// True when the open file no longer is what its path names (deleted or replaced).
  bool moved() const;
  bool has_table(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }
  sqlite3* handle() const { return handle_.get(); }
  /// Throws the Error of the last call.
  [[noreturn]] void fail() const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

/// What a row has in a column; texts and blobs without a byte are marks.
enum class Cell { kNull, kInteger, kReal, kEmptyText, kEmptyBlob, kText, kBlob };

/// A prepared statement. Columns count from 0; bind() fills the parameters from left to right.
class Statement {
 public:
  Statement(const Database& database, const std::string& sql);

  Statement& bind(std::int64_t value);
  /// NaN becomes NULL, and a whole number an integer, which takes 1 to 7 bytes in place of 9; as
  /// real() it reads back to the same bits (-0.0 stays what it is).
  Statement& bind(double value);
  Statement& bind(std::string_view value);
  Statement& bind_null();
  Statement& bind_blob(std::string_view bytes);
  /// A number as it is, in 8 bytes (NaN becomes NULL).
  Statement& bind_real(double value);
  /// Texts and blobs of no bytes, which take no room: marks.
  Statement& bind_empty_text();
  Statement& bind_empty_blob();

  /// True when a row is there.
  bool step();
  /// Runs a statement without results and makes it ready for the next bind().
  void run();
  /// The same, but returns false where a row with this primary key exists already.
  bool insert();
  void reset();

  std::int64_t integer(int column) const;
  double real(int column) const;       // NULL becomes NaN
  std::string text(int column) const;  // or a blob's bytes
  bool is_null(int column) const;
  Cell cell(int column) const;
  int columns() const;
  /// Appends type, size and bytes of the value: different for different values.
  void append_value(int column, std::string& bytes) const;

 private:
  void check_bind(int code);

  struct Finalize {
    void operator()(sqlite3_stmt* handle) const;
  };
  const Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  int next_ = 1;
};

}  // namespace bitfall
