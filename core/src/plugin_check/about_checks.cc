#include "about_checks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <regex>
#include <sstream>
#include <vector>

#include "words.h"

namespace bitfall {
namespace {

/// Those that most code is under (https://spdx.org/licenses).
const std::vector<std::string>& usual_licences() {
  static const std::vector<std::string> names = [] {
    std::istringstream text(
        "0BSD AGPL-3.0-only AGPL-3.0-or-later Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause "
        "BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 CC-BY-4.0 CC-BY-SA-4.0 CC0-1.0 CECILL-2.1 "
        "CECILL-B CECILL-C ECL-2.0 EPL-2.0 EUPL-1.2 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only "
        "GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT "
        "MIT-0 MPL-2.0 MS-PL NCSA PSF-2.0 Python-2.0 Unlicense Zlib");
    return std::vector<std::string>(std::istream_iterator<std::string>(text), {});
  }();
  return names;
}

std::string plain(const std::string& text) {  // letters and digits alone, small
  std::string kept;
  for (const char c : text) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) != 0) kept += static_cast<char>(std::tolower(letter));
  }
  return kept;
}

/// "Apache-2.0" for "apache 2.0", "Apache2", "APACHE-2.0"; empty where none is meant.
std::string meant(const std::string& text) {
  static constexpr std::array<std::pair<const char*, const char*>, 8> kOtherNames = {
      {{"gplv2", "GPL-2.0-only or GPL-2.0-or-later"},
       {"gpl2", "GPL-2.0-only or GPL-2.0-or-later"},
       {"gplv3", "GPL-3.0-only or GPL-3.0-or-later"},
       {"gpl3", "GPL-3.0-only or GPL-3.0-or-later"},
       {"lgplv3", "LGPL-3.0-only or LGPL-3.0-or-later"},
       {"bsd", "BSD-2-Clause or BSD-3-Clause"},
       {"mitlicense", "MIT"},
       {"apachelicense20", "Apache-2.0"}}};
  const std::string wanted = plain(text);
  for (const auto& [name, spdx] : kOtherNames) {
    if (wanted == name) return spdx;
  }
  for (const std::string& name : usual_licences()) {
    const std::string known = plain(name);
    if (wanted == known || wanted + "0" == known) return name;
  }
  return "";
}

std::string told(const std::string& text, const std::string& problem) {
  const std::string other = meant(text);
  return "its licence " + in_quotes(text) + " is no SPDX expression: " + problem +
         (other.empty() ? "" : "; " + other + " may be meant");
}

std::vector<std::string> tokens_of(const std::string& text) {
  std::vector<std::string> tokens;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      ++at;
    } else if (text[at] == '(' || text[at] == ')') {
      tokens.emplace_back(1, text[at++]);
    } else {
      const std::size_t end = std::min(text.find_first_of(" ()", at), text.size());
      tokens.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  return tokens;
}

bool is_operator(const std::string& token) {
  return token == "AND" || token == "OR" || token == "WITH";
}

/// What is wrong with the order of names, operators and brackets; empty = nothing.
std::string disorder(const std::vector<std::string>& tokens) {
  int open = 0;
  bool wants_name = true;
  for (const std::string& token : tokens) {
    const bool begins_one = token == "(" || (token != ")" && !is_operator(token));
    if (begins_one != wants_name) return in_quotes(token) + " does not belong there";
    if (token == "(") ++open;
    if (token == ")" && --open < 0) return "a ')' without its '('";
    if (token != "(" && token != ")") wants_name = is_operator(token);
  }
  if (open > 0) return "a '(' without its ')'";
  return wants_name ? "a name is missing at its end" : "";
}

}  // namespace

std::string licence_problem(const std::string& licence) {
  const std::vector<std::string> tokens = tokens_of(licence);
  if (const std::string problem = disorder(tokens); !problem.empty()) return told(licence, problem);
  static const std::regex name("(DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9.-]+\\+?");
  for (const std::string& token : tokens) {
    if (token == "(" || token == ")" || is_operator(token)) continue;
    if (!std::regex_match(token, name)) {
      return told(licence, in_quotes(token) + " is no identifier");
    }
    const auto& usual = usual_licences();
    const std::string bare = token.ends_with('+') ? token.substr(0, token.size() - 1) : token;
    if (std::find(usual.begin(), usual.end(), bare) != usual.end()) continue;
    if (const std::string other = meant(token); !other.empty()) {
      return "its licence " + in_quotes(licence) + " is no SPDX expression: " + in_quotes(token) +
             " is no identifier; " + other + " may be meant";
    }
  }
  return "";
}

std::string url_problem(const std::string& url) {
  static const std::regex address("https?://[^\\s/]+\\.?[^\\s]*");
  if (std::regex_match(url, address)) return "";
  return "its address " + in_quotes(url) + " is none of a web page: it begins with https://";
}

std::string citation_problem(const std::string& cite) {
  static const std::regex like("(doi:\\s*|https?://(dx\\.)?doi\\.org/)?(10\\..*)",
                               std::regex::icase);
  static const std::regex doi("10\\.[0-9]{4,9}(\\.[0-9]+)*/\\S+");
  std::smatch found;
  if (!std::regex_match(cite, found, like) || std::regex_match(found[3].str(), doi)) return "";
  return "its citation " + in_quotes(cite) + " looks like a DOI and is none: 10.1234/name";
}

}  // namespace bitfall
