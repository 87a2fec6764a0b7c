#include "raised.h"

#include <algorithm>

namespace bitfall {
namespace {

constexpr std::string_view kDigits = "0123456789";

bool is_digit(char c) { return kDigits.find(c) != kDigits.npos; }

bool in_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("_.#/").find(c) != std::string_view::npos;
}

// Where the number ends that begins at `start`: digits with a fraction and an exponent.
std::size_t end_of_number(std::string_view text, std::size_t start) {
  const auto past_digits = [&](std::size_t from) {
    return std::min(text.find_first_not_of(kDigits, from), text.size());
  };
  const auto digit_at = [&](std::size_t place) {
    return place < text.size() && is_digit(text[place]);
  };
  std::size_t end = past_digits(start);
  if (end < text.size() && text[end] == '.' && digit_at(end + 1)) end = past_digits(end + 1);
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const bool sign = end + 1 < text.size() && (text[end + 1] == '+' || text[end + 1] == '-');
    if (digit_at(end + 1 + sign)) end = past_digits(end + 1 + sign);
  }
  return end;
}

}  // namespace

std::string without_numbers(std::string_view message) {
  const std::size_t colon = message.find(": ");
  std::size_t at = colon == message.npos ? 0 : colon;
  std::string text(message.substr(0, at));
  while (at < message.size()) {
    const bool sign = message[at] == '-' && at + 1 < message.size() && is_digit(message[at + 1]);
    const bool word = at > 0 && in_word(message[at - 1]);
    if (word || !(sign || is_digit(message[at]))) {
      text += message[at++];
      continue;
    }
    text += '#';
    at = end_of_number(message, at + sign);
  }
  return text;
}

void RaisedCount::add(const TrialResult& trial) {
  if (!is_due(trial.outcome)) return;
  const std::string message = message_line(trial.message);
  Raised& kind = kinds_[{trial.outcome, without_numbers(message)}];
  if (kind.trials++ == 0) {
    kind.outcome = trial.outcome;
    kind.message = message;
    kind.example = trial.trial;
  }
}

std::vector<Raised> RaisedCount::commonest(std::size_t most) const {
  std::vector<Raised> list;
  for (const auto& [key, kind] : kinds_) list.push_back(kind);
  std::sort(list.begin(), list.end(), [](const Raised& a, const Raised& b) {
    return a.trials != b.trials ? a.trials > b.trials : a.example < b.example;
  });
  list.resize(std::min(list.size(), most));
  return list;
}

}  // namespace bitfall
