#include "trial_rows.h"

#include <array>
#include <bit>
#include <cmath>

#include "error.h"
#include "number_cells.h"
#include "numbers.h"

namespace bitfall {
namespace {

// Columns of a trial: its first edit follows, then the metrics.
enum Column {
  kTrial,
  kEntry,
  kSite,
  kImage,
  kOutcome,
  kActivated,
  kGoldenLoss,
  kGoldenTop1,
  kFaultyLoss,
  kFaultyTop1,
  kMessage,
  kFirstEdit,
  kFirstMetric = kFirstEdit + kEditColumns
};
// Columns of a row of more_edits.
enum EditColumn { kTrialOfEdit, kPosition, kEdit };

std::string insert_sql(const char* table, std::size_t columns) {
  std::string sql = "INSERT INTO " + std::string(table) + " VALUES(?";
  for (std::size_t i = 1; i < columns; ++i) sql += ",?";
  return sql + ")";
}

// Codes and masks have 32 bits; as signed numbers they take 4 bytes, not 6.
std::int64_t as_signed(std::uint32_t bits) { return std::bit_cast<std::int32_t>(bits); }

// The code that the edit of a mask or of a whole code leaves, unless something else happens to it.
std::optional<std::uint32_t> plain_code_after(const Edit& edit, std::uint32_t before) {
  switch (edit.operation) {
    case EditOperation::kFlip:
      return before ^ edit.mask;
    case EditOperation::kSet:
      return before | edit.mask;
    case EditOperation::kClear:
      return before & ~edit.mask;
    case EditOperation::kWrite:
      return edit.mask;
    default:
      return std::nullopt;
  }
}

double float32_of(std::uint32_t code) { return std::bit_cast<float>(code); }

void bind_edit(Statement& insert, const EditRecord& record) {
  const Edit& edit = record.edit;
  insert.bind(edit.element).bind(std::int64_t{edit.register_index});
  insert.bind(static_cast<std::int64_t>(edit.operation)).bind(as_signed(edit.mask));
  const auto value = std::bit_cast<std::uint32_t>(edit.value);
  value == 0 ? insert.bind_null() : insert.bind(as_signed(value));
  insert.bind(as_signed(record.code_before));
  const bool plain = plain_code_after(edit, record.code_before) == record.code_after;
  plain ? insert.bind_null() : insert.bind(as_signed(record.code_after));
  bind_number(insert, record.value_before, float32_of(record.code_before));
  bind_number(insert, record.value_after, float32_of(record.code_after));
  insert.bind(std::int64_t{record.bit_class});
}

}  // namespace

std::string contradiction(const TrialResult& result) {
  const auto but = [&](const std::string& what) { return to_string(result.outcome) + what; };
  if (is_due(result.outcome)) {
    if (std::isnan(result.faulty_loss) && result.faulty_top1 == -1) return "";
    return but(", but has an answer");
  }
  if (result.faulty_top1 < 0) return "is " + but(", but has no answer");
  if (!result.message.empty()) return "is " + but(", but has a message");
  const bool same = result.faulty_top1 == result.golden_top1;
  if (same ? result.outcome == Outcome::kTop1Changed
           : result.outcome == Outcome::kTop1Same || result.outcome == Outcome::kMasked) {
    return "is " + but(", but its top-1 is ") + std::to_string(result.faulty_top1) + " and was " +
           std::to_string(result.golden_top1);
  }
  if (result.outcome == Outcome::kMasked && !same_number(result.faulty_loss, result.golden_loss)) {
    return "is masked, but has another loss than golden";
  }
  return "";
}

GoldenAnswers::GoldenAnswers(const Database& database, std::size_t images)
    : row_(database, "SELECT loss, top1 FROM golden WHERE image = ?"), known_(images) {}

const GoldenAnswer* GoldenAnswers::of(std::int32_t image) {
  Known& known = known_[static_cast<std::size_t>(image)];
  if (known.state == State::kUnread) {
    row_.bind(std::int64_t{image});
    known.state = row_.step() ? State::kThere : State::kAbsent;
    if (known.state == State::kThere) {
      known.answer = {row_.real(0), static_cast<std::int32_t>(row_.integer(1))};
    }
    row_.reset();
  }
  return known.state == State::kThere ? &known.answer : nullptr;
}

void GoldenAnswers::forget() { known_.assign(known_.size(), {}); }

void GoldenAnswers::forget(std::int32_t image) { known_[static_cast<std::size_t>(image)] = {}; }

std::string contradiction(const TrialResult& result, const GoldenAnswer* golden) {
  if (!golden ||
      (same_number(result.golden_loss, golden->loss) && result.golden_top1 == golden->top1)) {
    return "";
  }
  return "has the golden loss " + exact_text(result.golden_loss) + " and top-1 " +
         std::to_string(result.golden_top1) + ", but its image has " + exact_text(golden->loss) +
         " and " + std::to_string(golden->top1);
}

TrialWriter::TrialWriter(const Database& database, std::size_t metrics)
    : insert_trial_(database, insert_sql("trials", kFirstMetric + metrics)),
      insert_message_(database, "INSERT OR IGNORE INTO messages(text) VALUES(?)"),
      message_(database, "SELECT id FROM messages WHERE text = ?"),
      insert_edit_(database, insert_sql("more_edits", kEdit + kEditColumns)),
      delete_trial_(database, "DELETE FROM trials WHERE trial = ?"),
      delete_edits_(database, "DELETE FROM more_edits WHERE trial = ?") {}

void TrialWriter::write(const TrialResult& result, const GoldenAnswer* golden) {
  std::optional<std::int64_t> message;
  if (!result.message.empty()) message = message_id(message_line(result.message));
  bind_trial(result, golden, message);
  if (!insert_trial_.insert()) {  // run before: replace it with all its edits
    delete_trial_.bind(result.trial).run();
    delete_edits_.bind(result.trial).run();
    bind_trial(result, golden, message);
    insert_trial_.run();
  }
  for (std::size_t i = 1; i < result.edits.size(); ++i) {
    insert_edit_.bind(result.trial).bind(static_cast<std::int64_t>(i));
    bind_edit(insert_edit_, result.edits[i]);
    insert_edit_.run();
  }
}

std::int64_t TrialWriter::message_id(const std::string& text) {
  insert_message_.bind(text).run();
  message_.bind(text).step();
  const std::int64_t id = message_.integer(0);
  message_.reset();
  return id;
}

void TrialWriter::bind_trial(const TrialResult& result, const GoldenAnswer* golden,
                             std::optional<std::int64_t> message) {
  Statement& insert = insert_trial_;
  insert.bind(result.trial).bind(std::int64_t{result.entry}).bind(std::int64_t{result.site});
  insert.bind(std::int64_t{result.image}).bind(static_cast<std::int64_t>(result.outcome));
  insert.bind(std::int64_t{result.activated});
  if (golden) {
    insert.bind_null().bind_null();
  } else {
    bind_number(insert, result.golden_loss);
    insert.bind(std::int64_t{result.golden_top1});
  }
  bind_number(insert, result.faulty_loss, result.golden_loss);
  const bool same = result.faulty_top1 == result.golden_top1;
  same ? insert.bind_null() : insert.bind(std::int64_t{result.faulty_top1});
  message ? insert.bind(*message) : insert.bind_null();
  if (result.edits.empty()) {
    for (int i = 0; i < kEditColumns; ++i) insert.bind_null();
  } else {
    bind_edit(insert, result.edits.front());
  }
  const double change = result.faulty_loss - result.golden_loss;
  for (const double value : result.metrics) bind_number(insert, value, change);
}

TrialCursor::TrialCursor(const Database& database, const TrialRanges& ranges, std::int64_t first,
                         std::int64_t last)
    : path_(database.path()),
      ranges_(ranges),
      trials_(database, "SELECT * FROM trials WHERE trial BETWEEN ? AND ? ORDER BY trial"),
      edits_(database,
             "SELECT * FROM more_edits WHERE trial BETWEEN ? AND ? ORDER BY trial, position"),
      message_(database, "SELECT text FROM messages WHERE id = ?"),
      golden_(database, ranges.images) {
  trials_.bind(first).bind(last);
  edits_.bind(first).bind(last);
  result_.metrics.resize(ranges.metrics);
}

void TrialCursor::refuse_orphan() const {
  throw Error(ExitCode::kInput, path_.string() + ": is damaged: it holds edits of trial " +
                                    std::to_string(edits_.integer(kTrialOfEdit)) +
                                    ", which it lacks");
}

const TrialResult* TrialCursor::next() {
  if (!trials_.step()) {
    if (started_ && more_edits_) refuse_orphan();
    return nullptr;
  }
  if (!started_) more_edits_ = edits_.step();  // of the same moment, as trials_ is being read
  started_ = true;
  read_trial();
  while (more_edits_ && edits_.integer(kTrialOfEdit) <= result_.trial) {
    if (edits_.integer(kTrialOfEdit) != result_.trial) refuse_orphan();
    if (result_.edits.empty()) damaged("lacks its first edit");
    result_.edits.push_back(edit_in(edits_, kEdit));
    more_edits_ = edits_.step();
  }
  return &result_;
}

void TrialCursor::read_trial() {
  result_.trial = trials_.integer(kTrial);
  const auto small = [this](Column column, std::size_t count, const char* what) {
    return static_cast<std::int32_t>(checked(trials_.integer(column), count, what));
  };
  result_.entry = small(kEntry, ranges_.entries, "entry");
  result_.site = small(kSite, ranges_.sites, "site");
  result_.image = small(kImage, ranges_.images, "image");
  result_.outcome = static_cast<Outcome>(small(kOutcome, kOutcomeNames.size(), "outcome"));
  result_.activated = trials_.integer(kActivated) != 0;
  read_losses();
  const double change = result_.faulty_loss - result_.golden_loss;
  for (std::size_t i = 0; i < result_.metrics.size(); ++i) {
    result_.metrics[i] =
        number(trials_, kFirstMetric + static_cast<int>(i), "measured number", change);
  }
  result_.message.clear();
  if (!trials_.is_null(kMessage)) read_message();
  if (const std::string wrong = contradiction(result_); !wrong.empty()) damaged(wrong);
  result_.edits.clear();
  if (!trials_.is_null(kFirstEdit)) result_.edits.push_back(edit_in(trials_, kFirstEdit));
}

void TrialCursor::read_losses() {
  const GoldenAnswer* golden = golden_.of(result_.image);
  if (!trials_.is_null(kGoldenTop1)) {
    result_.golden_loss = number(trials_, kGoldenLoss, "golden loss");
    result_.golden_top1 = static_cast<std::int32_t>(trials_.integer(kGoldenTop1));
    if (const std::string wrong = contradiction(result_, golden); !wrong.empty()) damaged(wrong);
  } else if (golden) {
    result_.golden_loss = golden->loss;
    result_.golden_top1 = golden->top1;
  } else {
    damaged("is of image " + std::to_string(result_.image) + ", which has no golden result");
  }
  result_.faulty_loss = number(trials_, kFaultyLoss, "loss", result_.golden_loss);
  result_.faulty_top1 = trials_.is_null(kFaultyTop1)
                            ? result_.golden_top1
                            : static_cast<std::int32_t>(trials_.integer(kFaultyTop1));
}

void TrialCursor::read_message() {
  message_.bind(trials_.integer(kMessage));
  if (!message_.step()) {
    damaged("has the message " + trials_.text(kMessage) + ", which the run does not have");
  }
  result_.message = message_.text(0);
  message_.reset();
}

EditRecord TrialCursor::edit_in(const Statement& row, int column) const {
  const auto bits = [&](int offset) {
    return static_cast<std::uint32_t>(row.integer(column + offset));
  };
  EditRecord record;
  record.edit.element = row.integer(column);
  record.edit.register_index = static_cast<std::int32_t>(row.integer(column + 1));
  record.edit.operation = static_cast<EditOperation>(
      checked(row.integer(column + 2), kEditOperationNames.size(), "operation"));
  record.edit.mask = bits(3);
  record.edit.value = std::bit_cast<float>(bits(4));
  record.code_before = bits(5);
  const auto after = plain_code_after(record.edit, record.code_before);
  record.code_after = row.is_null(column + 6) && after ? *after : bits(6);
  const double before = number(row, column + 7, "value", float32_of(record.code_before));
  record.value_before = static_cast<float>(before);
  record.value_after =
      static_cast<float>(number(row, column + 8, "value", float32_of(record.code_after)));
  record.bit_class = static_cast<std::int8_t>(row.integer(column + 9));
  return record;
}

std::int64_t TrialCursor::checked(std::int64_t value, std::size_t count, const char* what) const {
  if (value >= 0 && static_cast<std::size_t>(value) < count) return value;
  damaged(std::string("has the ") + what + " " + std::to_string(value));
}

double TrialCursor::number(const Statement& row, int column, const char* what,
                           double reference) const {
  if (const auto value = number_in(row, column, reference)) return *value;
  damaged(std::string("has no number as its ") + what);
}

void TrialCursor::damaged(const std::string& what) const {
  throw Error(ExitCode::kInput,
              path_.string() + ": is damaged: trial " + std::to_string(result_.trial) + " " + what);
}

void NumberHash::hand_on() {
  hash_.update(held_.data(), size_);
  size_ = 0;
}

void NumberHash::add(std::int64_t value) {
  if (size_ == held_.size()) hand_on();
  const auto bits = static_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < sizeof bits; ++i) {  // the lowest byte first
    held_[size_ + i] = static_cast<char>(bits >> (8 * i) & 255);
  }
  size_ += sizeof bits;
}

void NumberHash::add(double value) {
  constexpr std::int64_t kNan = 0x7FF8000000000000;
  add(std::isnan(value) ? kNan : std::bit_cast<std::int64_t>(value));
}

void NumberHash::add(std::string_view text) {
  add(static_cast<std::int64_t>(text.size()));
  hand_on();
  hash_.update(text.data(), text.size());
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
