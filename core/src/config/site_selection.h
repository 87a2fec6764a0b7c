// Which sites of a model an entry of a campaign file means.
#pragma once

#include <string>
#include <vector>

#include "bitfall/error_model.h"
#include "diagnostics.h"

namespace bitfall {

struct SiteSelection {
  Target target = Target::kActivation;
  std::vector<std::string> operations = {"conv", "linear"};  // operation kinds; "*" = every kind
  std::vector<std::string> sites = {"*"};                    // glob patterns on site names
  const char* section = "[[faults]]";                        // for messages
  SourceRange where;
  std::vector<SourceRange> operations_where;  // of each item of `operations`; empty when defaulted
  std::vector<SourceRange> sites_where;       // of each item of `sites`; empty when defaulted
};

}  // namespace bitfall
