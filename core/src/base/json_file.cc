#include "json_file.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "error.h"
#include "text_file.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

/// "3:14", counted in bytes from 1, of the byte with number `offset` from 1.
std::string place_of(std::string_view text, std::size_t offset) {
  const std::size_t end = std::min(offset == 0 ? 0 : offset - 1, text.size());
  const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
  const std::size_t start = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const std::size_t column = start == std::string::npos ? end + 1 : end - start;
  return std::to_string(line + 1) + ":" + std::to_string(column);
}

/// The library's own text behind its place, which is given already.
std::string reason(const Json::exception& error) {
  const std::string text = error.what();
  const std::size_t column = text.find("column");
  const std::size_t colon = column == text.npos ? text.npos : text.find(": ", column);
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

}  // namespace

nlohmann::json stored_json(std::string_view text) {
  const auto check = [](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    const bool number = event == nlohmann::json::parse_event_t::value && parsed.is_number_float();
    if (number && std::abs(parsed.get<double>()) >= 0x1p63) {
      throw nlohmann::json::out_of_range::create(406, "a number beyond 64 bits", &parsed);
    }
    return true;
  };
  return nlohmann::json::parse(text, check);
}

Json read_json(const std::filesystem::path& path) { return parse_json(path, read_text(path)); }

Json parse_json(const std::filesystem::path& path, std::string_view text) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepestJson) {
      throw Error(ExitCode::kInput, path.string() + ": its brackets lie more than " +
                                        std::to_string(kDeepestJson) + " deep");
    }
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw Error(ExitCode::kInput, path.string() + ": the key '" + key + "' occurs twice");
      }
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    throw Error(ExitCode::kInput, path.string() + ":" + place_of(text, error.byte) +
                                      ": not valid JSON: " + reason(error));
  } catch (const Json::exception& error) {  // a number beyond every float64
    const std::string text_of = error.what();
    throw Error(ExitCode::kInput,
                path.string() + ": not valid JSON: " +
                    text_of.substr(std::min(text_of.size(), text_of.find("] ") + 2)));
  }
}

}  // namespace bitfall
