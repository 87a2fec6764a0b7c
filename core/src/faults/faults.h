// Faults, trials, and the fault list as CSV.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bitfall/error_model.h"
#include "dataset.h"
#include "site_formats.h"
#include "sites.h"

namespace bitfall {

/// One fault meeting one image: the unit that is run, stored, counted and replayed.
struct Trial {
  std::int64_t id = 0;     // 0-based, position in the plan
  std::int32_t entry = 0;  // [[faults]] entry; 0 for a fault list
  std::int32_t site = 0;   // index into the model's sites
  std::int32_t image = 0;  // index into the dataset
};

/// A fault of a list, resolved against the campaign.
struct ListedFault {
  std::int32_t site = 0;
  std::int32_t image = 0;
  std::vector<Edit> edits;
};

/// The `mask` column of an edit: a real number travels as its float32 bit pattern, so that a list
/// reads back exactly.
std::uint32_t mask_column(const Edit& edit);

/// Reads `[fault,]site,image,target,element,register,op,mask` (header line required; columns by
/// name, any order, further columns ignored, so an exported trial table is accepted). CRLF, quotes
/// (RFC 4180), a byte order mark and blank lines are accepted. A leading `fault` or `trial` column
/// groups consecutive rows with the same number into one fault; without one, each row is a fault.
/// `mask` is hexadecimal (0x optional); for the ops `value`, `add` and `multiply` it is the
/// float32's bit pattern. Checks:
/// site and target known and not refused, image known, element in range, register known in this
/// format, mask within the register's width. All errors
/// (first 20) with path:line:column in one Error(kInput); the path is that of the text.
std::vector<ListedFault> read_fault_list(const std::filesystem::path& path, std::string_view text,
                                         std::span<const Site> sites, const Dataset& dataset,
                                         const SiteFormats& formats);

/// Writes one row per edit with the leading `fault` column. Inverse of read_fault_list.
void write_fault_row(std::ostream& out, std::int64_t fault, const Site& site,
                     const std::string& image, const Edit& edit, std::string_view register_name);
void write_fault_header(std::ostream& out);

/// One CSV field, quoted only where RFC 4180 needs it.
std::string csv_field(std::string_view text);

/// How many registers of each kind a site has under a format; the payload first.
std::vector<SiteRegister> site_registers(const Site& site, const NumberFormat& format);

/// The largest finite magnitude that a tensor of this shape can hold in the format, of which nothing
/// is stored yet: its metadata, where that is made for each tensor, is that of float32's largest
/// numbers. Of a calibrated format as if all metadata were 0.
float largest_number(const NumberFormat& format, std::span<const std::int64_t> shape);

}  // namespace bitfall
