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
  if (!result.message.empty()) return "is " + outcome + ", but has a message";
  const bool same = result.faulty_top1 == result.golden_top1;
  if (same ? result.outcome == Outcome::kTop1Changed
           : result.outcome == Outcome::kTop1Same || result.outcome == Outcome::kMasked) {
    return "is " + outcome + ", but its top-1 is " + std::to_string(result.faulty_top1) +
           " and was " + std::to_string(result.golden_top1);
  }
  if (result.outcome == Outcome::kMasked && !same_number(result.faulty_loss, result.golden_loss)) {
    return "is masked, but has another loss than golden";
  }
  return "";
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

TrialCursor::TrialCursor(const Database& database, const TrialRanges& ranges, std::int64_t first,
                         std::int64_t last)
    : path_(database.path()),
      ranges_(ranges),
      trials_(database,
              "SELECT t.*, m.text FROM trials t LEFT JOIN messages m ON m.id = t.message "
              "WHERE t.trial BETWEEN ? AND ? ORDER BY t.trial"),
      edits_(database,
             "SELECT trial, element, register, operation, mask, value_bits, code_before, "
             "code_after, value_before, value_after, bit_class FROM edits "
             "WHERE trial BETWEEN ? AND ? ORDER BY trial, position") {
  trials_.bind(first).bind(last);
  edits_.bind(first).bind(last);
  result_.metrics.resize(ranges.metrics);
}

void TrialCursor::refuse_orphan() const {
  throw Error(ExitCode::kInput, path_.string() + ": is damaged: it holds edits of trial " +
                                    std::to_string(edits_.integer(0)) + ", which it lacks");
}

const TrialResult* TrialCursor::next() {
  if (!trials_.step()) {
    if (started_ && more_edits_) refuse_orphan();
    return nullptr;
  }
  if (!started_) more_edits_ = edits_.step();  // of the same moment, as trials_ is being read
  started_ = true;
  read_trial();
  result_.edits.clear();
  while (more_edits_ && edits_.integer(0) <= result_.trial) {
    if (edits_.integer(0) != result_.trial) refuse_orphan();
    read_edit();
    more_edits_ = edits_.step();
  }
  return &result_;
}

void TrialCursor::read_trial() {
  result_.trial = trials_.integer(0);
  result_.entry = static_cast<std::int32_t>(checked(trials_.integer(1), ranges_.entries, "entry"));
  result_.site = static_cast<std::int32_t>(checked(trials_.integer(2), ranges_.sites, "site"));
  result_.image = static_cast<std::int32_t>(checked(trials_.integer(3), ranges_.images, "image"));
  result_.outcome =
      static_cast<Outcome>(checked(trials_.integer(4), kOutcomeNames.size(), "outcome"));
  result_.activated = trials_.integer(5) != 0;
  result_.golden_loss = number(6, "golden loss");
  result_.faulty_loss = number(7, "loss");
  result_.golden_top1 = static_cast<std::int32_t>(trials_.integer(8));
  result_.faulty_top1 = static_cast<std::int32_t>(trials_.integer(9));
  for (std::size_t i = 0; i < result_.metrics.size(); ++i) {
    result_.metrics[i] = number(kFirstMetric + static_cast<int>(i), "measured number");
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

double TrialCursor::number(int column, const char* what) const {
  if (trials_.is_number(column)) return trials_.real(column);
  damaged(std::string("has a text as its ") + what);
}

void TrialCursor::damaged(const std::string& what) const {
  throw Error(ExitCode::kInput,
              path_.string() + ": is damaged: trial " + std::to_string(result_.trial) + " " + what);
}

void NumberHash::hand_on() {
  hash_.update(held_.data(), held_.size());
  held_.clear();
}

void NumberHash::add(std::int64_t value) {
  auto bits = static_cast<std::uint64_t>(value);
  std::array<char, 8> bytes;
  for (char& byte : bytes) {
    byte = static_cast<char>(bits & 255);
    bits >>= 8;
  }
  held_.append(bytes.data(), bytes.size());
  if (held_.size() >= kHeld) hand_on();
}

void NumberHash::add(double value) {
  constexpr std::int64_t kNan = 0x7FF8000000000000;
  add(std::isnan(value) ? kNan : std::bit_cast<std::int64_t>(value));
}

void NumberHash::add(std::string_view text) {
  add(static_cast<std::int64_t>(text.size()));
  held_ += text;
}

std::string NumberHash::hex() {
  hand_on();
  return hash_.hex();
}

void TrialHash::add(const TrialResult& result) {
  hash_.add(result.trial);
  hash_.add(std::int64_t{result.entry});
  hash_.add(std::int64_t{result.site});
  hash_.add(std::int64_t{result.image});
  hash_.add(static_cast<std::int64_t>(result.outcome));
  hash_.add(std::int64_t{result.activated});
  hash_.add(result.golden_loss);
  hash_.add(result.faulty_loss);
  hash_.add(std::int64_t{result.golden_top1});
  hash_.add(std::int64_t{result.faulty_top1});
  for (const double value : result.metrics) hash_.add(value);
  hash_.add(static_cast<std::int64_t>(result.edits.size()));
  for (const EditRecord& record : result.edits) add(record);
}

void TrialHash::add(const EditRecord& record) {
  hash_.add(record.edit.element);
  hash_.add(std::int64_t{record.edit.register_index});
  hash_.add(static_cast<std::int64_t>(record.edit.operation));
  hash_.add(std::int64_t{record.edit.mask});
  hash_.add(std::int64_t{std::bit_cast<std::uint32_t>(record.edit.value)});
  hash_.add(std::int64_t{record.code_before});
  hash_.add(std::int64_t{record.code_after});
  hash_.add(static_cast<double>(record.value_before));
  hash_.add(static_cast<double>(record.value_after));
}

void RemarkHash::add(const TrialResult& result) {
  if (!result.message.empty()) {
    hash_.add(result.trial);
    hash_.add(std::string_view(result.message));
  }
  for (const EditRecord& record : result.edits) hash_.add(std::int64_t{record.bit_class});
}

}  // namespace bitfall
