// What a plugin tells of itself for people: licence, address, citation.
#pragma once

#include <string>

namespace bitfall {

/// Why this is no SPDX licence expression (SPDX 2.3, annex D), such as "Apache-2.0" or "(MIT OR
/// GPL-2.0-or-later WITH Classpath-exception-2.0)"; empty where it is one. Of identifiers that are
/// not among the usual ones, one that is near; others may well be in SPDX's list, and are let be.
std::string licence_problem(const std::string& licence);

/// Why this is no address of a web page; empty where it is one.
std::string url_problem(const std::string& url);

/// Why a citation that looks like a DOI is none; empty where it is one, or looks like a reference.
std::string citation_problem(const std::string& cite);

}  // namespace bitfall
