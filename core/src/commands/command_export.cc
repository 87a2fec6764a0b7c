// bitfall export: every trial as a table.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "atomic_file.h"
#include "file_commands.h"
#include "error.h"
#include "foreign_faults.h"
#include "log.h"
#include "parquet_export.h"
#include "store.h"

namespace bitfall {
namespace {

class ExportCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("export", "every trial as a table, one row per edit");
    app->add_option("run", run_, "the run directory")->required();
    auto* kinds = app->add_option_group("format", "one of");
    kinds->add_flag("--csv", csv_, "CSV with a header");
    kinds->add_flag("--jsonl", jsonl_, "one JSON object per line; NaN is null, an infinity the text \"Infinity\"");
    kinds->add_flag("--parquet", parquet_, "Apache Parquet, for DuckDB, pandas or Polars");
    kinds->add_flag("--faults", faults_, "the fault list, for `bitfall run CAMPAIGN --faults`");
    kinds->add_flag("--polito", polito_,
                    "PolitO's fault list (Injection,Layer,TensorIndex,Bit,n_injections,...), of "
                    "flips of one bit of a layer's weight in fp32");
    kinds->require_option(1);
    app->add_option("-o,--output", output_, "file (default: stdout)");
    return app;
  }
  int run() override;

 private:
  void write(const Store& store, std::ostream& out, const std::string& name) const;

  std::filesystem::path run_;
  std::filesystem::path output_;  // empty = standard output
  bool csv_ = false;
  bool jsonl_ = false;
  bool parquet_ = false;
  bool faults_ = false;
  bool polito_ = false;
};

void export_polito(const Store& store, std::ostream& out) {
  const RunDescription run = store.description();
  PolitoList list(run.sites);
  std::int64_t left = 0;
  const auto fp32 = [&](std::int32_t site) {
    const auto format = run.site_formats[static_cast<std::size_t>(site)];
    return run.formats[static_cast<std::size_t>(format)].id == "fp32";
  };
  store.for_each_trial(
      [&](const TrialResult& trial) { left += fp32(trial.site) && list.add(trial) ? 0 : 1; });
  if (left > 0) {
    log_warning(std::to_string(left) +
                " trials are left out: they are not flips of one bit of a layer's weight in fp32, "
                "which is all that such a list can hold");
  }
  list.write(out);
}

int ExportCommand::run() {
  if (parquet_ && output_.empty() && ::isatty(STDOUT_FILENO) != 0) {
    throw Error(ExitCode::kUsage,
                "--parquet: a table of bytes; give -o FILE, such as -o trials.parquet");
  }
  const auto store = Store::open_read_only(run_);
  if (output_.empty()) {
    write(*store, std::cout, "standard output");
    return 0;
  }
  const auto write_to = [&](const std::filesystem::path& path) {
    std::ofstream file(path, std::ios::binary);
    if (!file) throw Error(ExitCode::kFailure, output_.string() + ": cannot be written");
    write(*store, file, output_.string());
  };
  std::error_code absent;
  const bool device = std::filesystem::exists(output_, absent) &&
                      !std::filesystem::is_regular_file(output_, absent);
  device ? write_to(output_) : replace_file(output_, write_to);
  return 0;
}

void ExportCommand::write(const Store& store, std::ostream& out, const std::string& name) const {
  if (csv_) export_csv(store, out);
  if (jsonl_) export_jsonl(store, out);
  if (parquet_) export_parquet(store, out);
  if (faults_) export_faults(store, out);
  if (polito_) export_polito(store, out);
  out.flush();
  if (!out) throw Error(ExitCode::kFailure, name + ": write failed");
}

}  // namespace

std::unique_ptr<Command> export_command() { return std::make_unique<ExportCommand>(); }

}  // namespace bitfall
