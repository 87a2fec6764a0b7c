// bitfall compare: judges runs against the first; reads them and reruns nothing.
#include <cstdio>

#include "commands.h"
#include "compare.h"
#include "error.h"

namespace bitfall {

int compare_command(const CompareOptions& options) {
  if (options.labels.size() > options.runs.size()) {
    throw Error(ExitCode::kUsage, std::to_string(options.labels.size()) + " labels for " +
                                      std::to_string(options.runs.size()) +
                                      " runs; --label names the runs in their order");
  }
  std::vector<ArmSource> sources;
  for (std::size_t i = 0; i < options.runs.size(); ++i) {
    sources.push_back({options.runs[i], i < options.labels.size() ? options.labels[i] : ""});
  }
  const CompareData data = compare(sources);
  if (options.charts) {
    std::printf("%s\n", compare_charts_json(data).c_str());
    return 0;
  }
  std::filesystem::path html = options.html;
  if (html.empty()) {
    const auto run = std::filesystem::absolute(options.runs.front()).lexically_normal();
    html = (run.has_filename() ? run : run.parent_path()).parent_path() / "compare.html";
  }
  write_compare_html(data, vega_bundle(), html);
  if (options.json) {
    std::printf("%s", compare_json(data).c_str());
  } else if (options.markdown) {
    std::printf("%s", compare_markdown(data).c_str());
  } else {
    std::printf("%s", compare_text(data).c_str());
  }
  std::fprintf(options.json || options.markdown ? stderr : stdout, "\ncomparison: %s\n",
               html.c_str());
  return 0;
}

}  // namespace bitfall
