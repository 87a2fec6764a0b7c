#include "trial_rows.h"

#include <array>
#include <bit>
#include <cmath>

#include "error.h"

namespace bitfall {
namespace {

// Where the columns of a trial are that do not come first.
constexpr int kMessageColumn = 10;
constexpr int kFirstMetric = kMessageColumn + 1;

std::string insert_trial_sql(std::size_t metrics) {
  std::string sql =
      "INSERT INTO trials VALUES(?,?,?,?,?,?,?,?,?,?,(SELECT id FROM messages WHERE text = ?)";
  for (std::size_t i = 0; i < metrics; ++i) sql += ",?";
  return sql + ")";
}

}  // namespace

std::string contradiction(const TrialResult& result) {
  const std::string outcome = to_string(result.outcome);
  if (is_due(result.outcome)) {
    if (std::isnan(result.faulty_loss) && result.faulty_top1 == -1) return "";
    return outcome + ", but has an answer";
  }
  if (result.faulty_top1 < 0) return "is " + outcome + ", but has no answer";
  return result.message.empty() ? "" : "is " + outcome + ", but has a message";
}

TrialWriter::TrialWriter(const Database& database, std::size_t metrics)
    : insert_trial_(database, insert_trial_sql(metrics)),
      insert_message_(database, "INSERT OR IGNORE INTO messages(text) VALUES(?)"),
      insert_edit_(database, "INSERT INTO edits VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"),
      delete_trial_(database, "DELETE FROM trials WHERE trial = ?"),
      delete_edits_(database, "DELETE FROM edits WHERE trial = ?") {}

void TrialWriter::write(const TrialResult& result) {
  if (!result.message.empty()) insert_message_.bind(message_line(result.message)).run();
  bind_trial(result);
  if (!insert_trial_.insert()) {  // run before: replace it with all its edits
    delete_trial_.bind(result.trial).run();
    delete_edits_.bind(result.trial).run();
    bind_trial(result);
    insert_trial_.run();
  }
  for (std::size_t i = 0; i < result.edits.size(); ++i) {
    insert_edit(result.trial, static_cast<std::int64_t>(i), result.edits[i]);
  }
}

void TrialWriter::bind_trial(const TrialResult& result) {
  Statement& insert = insert_trial_;
  insert.bind(result.trial).bind(std::int64_t{result.entry}).bind(std::int64_t{result.site});
  insert.bind(std::int64_t{result.image}).bind(static_cast<std::int64_t>(result.outcome));
  insert.bind(std::int64_t{result.activated}).bind(result.golden_loss).bind(result.faulty_loss);
  insert.bind(std::int64_t{result.golden_top1}).bind(std::int64_t{result.faulty_top1});
  result.message.empty() ? insert.bind_null() : insert.bind(message_line(result.message));
  for (const double value : result.metrics) insert.bind(value);
}

void TrialWriter::insert_edit(std::int64_t trial, std::int64_t position, const EditRecord& record) {
  const Edit& edit = record.edit;
  Statement& insert = insert_edit_;
  insert.bind(trial).bind(position).bind(edit.element).bind(std::int64_t{edit.register_index});
  insert.bind(static_cast<std::int64_t>(edit.operation)).bind(std::int64_t{edit.mask});
  insert.bind(static_cast<double>(edit.value));
  insert.bind(std::int64_t{std::bit_cast<std::uint32_t>(edit.value)});
  insert.bind(std::int64_t{record.code_before}).bind(std::int64_t{record.code_after});
  insert.bind(static_cast<double>(record.value_before));
  insert.bind(static_cast<double>(record.value_after)).bind(std::int64_t{record.bit_class});
  insert.run();
}

TrialCursor::TrialCursor(const Database& database, std::size_t metrics, std::int64_t first,
                         std::int64_t last)
    : path_(database.path()),
      trials_(database,
              "SELECT t.*, m.text FROM trials t LEFT JOIN messages m ON m.id = t.message "
              "WHERE t.trial BETWEEN ? AND ? ORDER BY t.trial"),
      edits_(database,
             "SELECT trial, element, register, operation, mask, value_bits, code_before, "
             "code_after, value_before, value_after, bit_class FROM edits "
             "WHERE trial BETWEEN ? AND ? ORDER BY trial, position") {
  trials_.bind(first).bind(last);
  edits_.bind(first).bind(last);
  result_.metrics.resize(metrics);
}

const TrialResult* TrialCursor::next() {
  if (!trials_.step()) return nullptr;
  if (!started_) more_edits_ = edits_.step();
  started_ = true;
  read_trial();
  result_.edits.clear();
  while (more_edits_ && edits_.integer(0) <= result_.trial) {
    if (edits_.integer(0) == result_.trial) read_edit();
    more_edits_ = edits_.step();
  }
  return &result_;
}

void TrialCursor::read_trial() {
  result_.trial = trials_.integer(0);
  result_.entry = static_cast<std::int32_t>(trials_.integer(1));
  result_.site = static_cast<std::int32_t>(trials_.integer(2));
  result_.image = static_cast<std::int32_t>(trials_.integer(3));
  result_.outcome =
      static_cast<Outcome>(checked(trials_.integer(4), kOutcomeNames.size(), "outcome"));
  result_.activated = trials_.integer(5) != 0;
  result_.golden_loss = trials_.real(6);
  result_.faulty_loss = trials_.real(7);
  result_.golden_top1 = static_cast<std::int32_t>(trials_.integer(8));
  result_.faulty_top1 = static_cast<std::int32_t>(trials_.integer(9));
  for (std::size_t i = 0; i < result_.metrics.size(); ++i) {
    result_.metrics[i] = trials_.real(kFirstMetric + static_cast<int>(i));
  }
  read_message();
  if (const std::string wrong = contradiction(result_); !wrong.empty()) damaged(wrong);
}

void TrialCursor::read_message() {
  const int text = kFirstMetric + static_cast<int>(result_.metrics.size());
  if (!trials_.is_null(kMessageColumn) && trials_.is_null(text)) {
    damaged("has the message " + trials_.text(kMessageColumn) + ", which the run does not have");
  }
  result_.message = trials_.text(text);
}

void TrialCursor::read_edit() {
  EditRecord record;
  record.edit.element = edits_.integer(1);
  record.edit.register_index = static_cast<std::int32_t>(edits_.integer(2));
  record.edit.operation = static_cast<EditOperation>(
      checked(edits_.integer(3), kEditOperationNames.size(), "operation"));
  record.edit.mask = static_cast<std::uint32_t>(edits_.integer(4));
  record.edit.value = std::bit_cast<float>(static_cast<std::uint32_t>(edits_.integer(5)));
  record.code_before = static_cast<std::uint32_t>(edits_.integer(6));
  record.code_after = static_cast<std::uint32_t>(edits_.integer(7));
  record.value_before = static_cast<float>(edits_.real(8));
  record.value_after = static_cast<float>(edits_.real(9));
  record.bit_class = static_cast<std::int8_t>(edits_.integer(10));
  result_.edits.push_back(record);
}

std::int64_t TrialCursor::checked(std::int64_t value, std::size_t count, const char* what) const {
  if (value >= 0 && static_cast<std::size_t>(value) < count) return value;
  damaged(std::string("has the ") + what + " " + std::to_string(value));
}

void TrialCursor::damaged(const std::string& what) const {
  throw Error(ExitCode::kInput,
              path_.string() + ": is damaged: trial " + std::to_string(result_.trial) + " " + what);
}

void TrialHash::add(std::int64_t value) {
  std::array<unsigned char, 8> bytes;
  auto bits = static_cast<std::uint64_t>(value);
  for (unsigned char& byte : bytes) {
    byte = static_cast<unsigned char>(bits & 255);
    bits >>= 8;
  }
  hash_.update(bytes.data(), bytes.size());
}

void TrialHash::add(double value) {
  constexpr std::int64_t kNan = 0x7FF8000000000000;
  add(std::isnan(value) ? kNan : std::bit_cast<std::int64_t>(value));
}

void TrialHash::add(const TrialResult& result) {
  add(result.trial);
  add(std::int64_t{result.entry});
  add(std::int64_t{result.site});
  add(std::int64_t{result.image});
  add(static_cast<std::int64_t>(result.outcome));
  add(std::int64_t{result.activated});
  add(result.golden_loss);
  add(result.faulty_loss);
  add(std::int64_t{result.golden_top1});
  add(std::int64_t{result.faulty_top1});
  for (const double value : result.metrics) add(value);
  add(static_cast<std::int64_t>(result.edits.size()));
  for (const EditRecord& record : result.edits) add(record);
}

void TrialHash::add(const EditRecord& record) {
  add(record.edit.element);
  add(std::int64_t{record.edit.register_index});
  add(static_cast<std::int64_t>(record.edit.operation));
  add(std::int64_t{record.edit.mask});
  add(std::int64_t{std::bit_cast<std::uint32_t>(record.edit.value)});
  add(std::int64_t{record.code_before});
  add(std::int64_t{record.code_after});
  add(static_cast<double>(record.value_before));
  add(static_cast<double>(record.value_after));
}

}  // namespace bitfall
