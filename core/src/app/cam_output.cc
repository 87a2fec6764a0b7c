#include "cam_output.h"

#include <algorithm>
#include <cmath>

#include "atomic_file.h"
#include "error.h"
#include "html_page.h"
#include "png_writer.h"
#include "report_json.h"
#include "report_number.h"
#include "report_table.h"

namespace bitfall {
namespace {

constexpr int kSmallest = 224;  // pixels of a picture's side, so that small images can be seen

std::uint8_t level(double value) {
  return static_cast<std::uint8_t>(std::lround(255 * std::clamp(value, 0.0, 1.0)));
}

/// The map over the image: a heat of blue to red, half of each. Small images are drawn in blocks.
Image overlay(const Image& picture, const std::vector<float>& heat) {
  const int factor = std::max(1, (kSmallest + picture.width - 1) / picture.width);
  const Image rgb = with_channels(picture, 3);
  Image drawn = blank_image(static_cast<std::uint64_t>(picture.width * factor),
                            static_cast<std::uint64_t>(picture.height * factor), 3);
  for (int y = 0; y < drawn.height; ++y) {
    for (int x = 0; x < drawn.width; ++x) {
      const auto from = static_cast<std::size_t>(y / factor * picture.width + x / factor);
      const double value = heat.empty() ? 0 : static_cast<double>(heat[from]);
      // As the colour map jet.
      const double heat_rgb[3] = {1.5 - std::abs(4 * value - 3), 1.5 - std::abs(4 * value - 2),
                                  1.5 - std::abs(4 * value - 1)};
      for (std::size_t c = 0; c < 3; ++c) {
        const double seen = rgb.pixels[from * 3 + c] / 255.0;
        const double mixed =
            heat.empty() ? seen / 2 : (seen + std::clamp(heat_rgb[c], 0.0, 1.0)) / 2;
        drawn.pixels[static_cast<std::size_t>(y * drawn.width + x) * 3 + c] = level(mixed);
      }
    }
  }
  return drawn;
}

std::vector<float> heat_of(const CamMap& map, const Image& picture) {
  if (!map.failure.empty()) return {};
  return enlarged(map, picture.height, picture.width);
}

std::string base64(const std::string& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

std::string likeness_text(const CamCase& one) {
  if (!one.after) return "-";
  if (!one.alike) return one.after->failure.empty() ? "no map before" : one.after->failure;
  return "IoU " + quantity(one.alike->intersection_over_union) + ", correlation " +
         quantity(one.alike->correlation);
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

double least_of(const std::vector<double>& values) {
  return values.empty() ? std::nan("") : *std::min_element(values.begin(), values.end());
}

ReportTable layers_table(const CamReport& report) {
  ReportTable table;
  table.columns = {"layer",       "faults", "IoU",         "least",
                   "correlation", "least",  "other top-1", "no map"};
  for (const CamLayer& layer : report.layers) {
    table.rows.push_back(
        {layer.name, std::to_string(layer.trials), quantity(mean_of(layer.intersections)),
         quantity(least_of(layer.intersections)), quantity(mean_of(layer.correlations)),
         quantity(least_of(layer.correlations)),
         percent(share(layer.other_answer, layer.trials), 1), std::to_string(layer.no_map)});
  }
  table.note =
      "IoU: of the fifth of the image with the largest values of the map, before and after the "
      "fault; means and least over the faults with a map.";
  return table;
}

ReportTable cases_table(const CamReport& report) {
  ReportTable table;
  table.columns = {"image", "fault", "class", "logit", "after", "likeness"};
  table.text_columns = 3;
  for (const CamCase& one : report.cases) {
    table.rows.push_back(
        {one.image, one.trial ? "trial " + std::to_string(*one.trial) + " in " + one.layer : "-",
         one.target_class,
         one.before.failure.empty() ? quantity(one.before.answer) : one.before.failure,
         one.after ? quantity(one.after->answer) : "-", likeness_text(one)});
  }
  return table;
}

Json to_json(const CamMap& map) {
  Json json = {{"logit", number(map.answer)}, {"top1", map.top1}, {"target", map.target}};
  json["failure"] = map.failure.empty() ? Json(nullptr) : Json(map.failure);
  json["map"] = Json::array();
  for (std::int64_t y = 0; y < map.height && !map.values.empty(); ++y) {
    Json row = Json::array();
    for (std::int64_t x = 0; x < map.width; ++x) {
      row.push_back(map.values[static_cast<std::size_t>(y * map.width + x)]);
    }
    json["map"].push_back(std::move(row));
  }
  json["weights"] = Json::array();
  for (const double weight : map.weights) json["weights"].push_back(number(weight));
  return json;
}

std::string picture_html(const Image& picture, const std::string& caption) {
  return "<figure style=\"display:inline-block;margin:4px 12px 4px 0\"><img src=\"data:image/"
         "png;base64," +
         base64(png_bytes(picture)) + "\" alt=\"" + html_escaped(caption) +
         "\"><figcaption class=\"note\">" + html_escaped(caption) + "</figcaption></figure>\n";
}

std::string case_html(const CamCase& one) {
  std::string html =
      "<h2>" + html_escaped(one.image) + "</h2>\n<p>class " + html_escaped(one.target_class);
  if (one.trial) {
    html += ", trial " + std::to_string(*one.trial) + " in " + html_escaped(one.layer) + ": " +
            html_escaped(likeness_text(one));
  }
  html +=
      "</p>\n" + picture_html(overlay(one.picture, heat_of(one.before, one.picture)),
                              one.before.failure.empty() ? "without a fault" : one.before.failure);
  if (one.after) {
    html += picture_html(overlay(one.picture, heat_of(*one.after, one.picture)),
                         one.after->failure.empty() ? "with the fault" : one.after->failure);
  }
  return html;
}

}  // namespace

Image picture_of(std::span<const float> image, std::array<std::int64_t, 3> shape,
                 const Preprocess& steps) {
  const auto [channels, height, width] = shape;
  const int drawn = channels == 1 ? 1 : 3;
  Image picture =
      blank_image(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), drawn);
  const auto pixels = static_cast<std::size_t>(height * width);
  std::vector<double> values(image.begin(), image.end());
  const bool undone = !steps.mean.empty() || !steps.std.empty();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t c = i / pixels;
    const auto of = [&](const std::vector<double>& list, double none) {
      return list.empty() ? none : list[list.size() == 1 ? 0 : c];
    };
    values[i] = values[i] * of(steps.std, 1) + of(steps.mean, 0);
  }
  double low = 0, high = 1;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (!undone && (*least < -0.01 || *most > 1.01)) low = *least, high = std::max(*most, low + 1e-9);
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(drawn); ++c) {
      const std::size_t from = std::min<std::size_t>(c, static_cast<std::size_t>(channels) - 1);
      picture.pixels[i * static_cast<std::size_t>(drawn) + c] =
          level((values[from * pixels + i] - low) / (high - low));
    }
  }
  return picture;
}

std::string cam_text(const CamReport& report) {
  std::string text = "Ablation-CAM of " + report.model + " at " + report.site + "\n";
  if (!report.run.empty()) text += "faults of " + report.run + "\n";
  text += "\n";
  if (!report.layers.empty()) {
    const ReportTable table = layers_table(report);
    text += table_text(table, 110) + table.note + "\n\n";
  }
  if (!report.cases.empty()) text += table_text(cases_table(report), 110);
  const bool negative = std::any_of(
      report.cases.begin(), report.cases.end(),
      [](const CamCase& one) { return one.before.failure.empty() && one.before.answer < 0; });
  if (negative) {
    text +=
        "note: where a class's logit is negative, dividing by it turns the weights' sign, and the "
        "map shows what speaks against the class\n";
  }
  return text;
}

std::string cam_json(const CamReport& report) {
  Json cases = Json::array(), layers = Json::array();
  for (const CamCase& one : report.cases) {
    Json json = {{"name", one.name},
                 {"image", one.image},
                 {"class", one.target_class},
                 {"before", to_json(one.before)}};
    if (one.trial) {
      json["trial"] = *one.trial;
      json["layer"] = one.layer;
      json["after"] = to_json(*one.after);
      json["iou"] = one.alike ? number(one.alike->intersection_over_union) : Json(nullptr);
      json["correlation"] = one.alike ? number(one.alike->correlation) : Json(nullptr);
    }
    cases.push_back(std::move(json));
  }
  for (const CamLayer& layer : report.layers) {
    layers.push_back({{"layer", layer.name},
                      {"faults", layer.trials},
                      {"no_map", layer.no_map},
                      {"other_answer", layer.other_answer},
                      {"iou", layer.intersections},
                      {"correlation", layer.correlations}});
  }
  Json json = {{"schema", "bitfall.cam/1"}, {"model", report.model}, {"site", report.site}};
  if (!report.run.empty()) json["run"] = report.run;
  json["cases"] = std::move(cases);
  json["layers"] = std::move(layers);
  return json_text(json) + "\n";
}

void write_cam_pictures(const CamReport& report, const std::filesystem::path& folder) {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) {
    throw Error(ExitCode::kFailure, folder.string() + ": cannot be made: " + problem.message());
  }
  HtmlPage page;
  page.title = "Bitfall: Ablation-CAM of " + report.model;
  page.body = "<h1>Ablation-CAM</h1>\n<p class=\"lead\">" +
              html_escaped(report.model + " at " + report.site +
                           (report.run.empty() ? "" : "; faults of " + report.run)) +
              "</p>\n<p>Red: what the class's logit hangs on. The logit is compared with the one "
              "that is left when a channel of the site is a constant.</p>\n";
  if (!report.layers.empty()) {
    const ReportTable table = layers_table(report);
    page.body += "<h2>Likeness by layer</h2>\n<p class=\"note\">" + html_escaped(table.note) +
                 "</p>\n" + table_html(table);
  }
  for (const CamCase& one : report.cases) {
    page.body += case_html(one);
    write_file_atomically(folder / (one.name + "_before.png"),
                          png_bytes(overlay(one.picture, heat_of(one.before, one.picture))));
    if (!one.after) continue;
    write_file_atomically(folder / (one.name + "_after.png"),
                          png_bytes(overlay(one.picture, heat_of(*one.after, one.picture))));
  }
  write_html_page(page, std::nullopt, folder / "cam.html");
}

}  // namespace bitfall
