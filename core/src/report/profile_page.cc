#include "profile_page.h"

#include <algorithm>
#include <cmath>

#include "charts.h"
#include "html_page.h"
#include "report_number.h"
#include "report_table.h"
#include "report_text.h"
#include "sites.h"

namespace bitfall {
namespace {

constexpr const char* kProfileNote =
    "max, mean: of the absolute values at a site over all images, without a fault, in plain FP32; "
    "NaN and infinite ones are left out and counted.";

struct ProfileRow {
  const ProfiledSite* first = nullptr;      // whose name and kind are shown
  std::vector<const ProfiledSite*> places;  // by network; null where it has none
};

bool is_same_site(const ProfiledSite& a, const ProfiledSite& b) {
  return a.target == b.target && name_in_backbone(a.name) == name_in_backbone(b.name);
}

std::vector<ProfileRow> profile_rows(const std::vector<ProfiledNetwork>& networks) {
  std::vector<ProfileRow> rows;
  for (std::size_t n = 0; n < networks.size(); ++n) {
    for (const ProfiledSite& site : networks[n].sites) {
      auto row = std::find_if(rows.begin(), rows.end(), [&](const ProfileRow& other) {
        return !other.places[n] && is_same_site(*other.first, site);
      });
      if (row == rows.end()) {
        rows.push_back({&site, std::vector<const ProfiledSite*>(networks.size(), nullptr)});
        row = rows.end() - 1;
      }
      row->places[n] = &site;
    }
  }
  return rows;
}

bool any_nonfinite(const std::vector<ProfiledNetwork>& networks) {
  for (const ProfiledNetwork& network : networks) {
    for (const ProfiledSite& site : network.sites) {
      if (site.nonfinite > 0) return true;
    }
  }
  return false;
}

ReportTable profile_table(const std::vector<ProfiledNetwork>& networks) {
  ReportTable table;
  table.note = kProfileNote;
  table.text_columns = 2;
  table.columns = {"site", "kind"};
  const bool nonfinite = any_nonfinite(networks);
  for (const ProfiledNetwork& network : networks) {
    const std::string of = networks.size() > 1 ? network.label + ": " : "";
    table.columns.push_back(of + "max");
    table.columns.push_back(of + "mean");
    if (nonfinite) table.columns.push_back(of + "non-finite");
  }
  for (const ProfileRow& row : profile_rows(networks)) {
    std::vector<std::string> cells = {row.first->name, row.first->target == "activation"
                                                           ? row.first->operation
                                                           : row.first->target};
    for (const ProfiledSite* site : row.places) {
      cells.push_back(site ? quantity(site->maximum) : "-");
      cells.push_back(site ? quantity(site->mean) : "-");
      if (nonfinite) cells.push_back(site ? std::to_string(site->nonfinite) : "-");
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Json profile_chart(const std::vector<ProfiledNetwork>& networks, double ProfiledSite::* what,
                   const char* title) {
  Json rows = Json::array(), labels = Json::array(), colours = Json::array();
  for (std::size_t n = 0; n < networks.size(); ++n) {
    labels.push_back(networks[n].label);
    colours.push_back(kSeriesColours[n % std::size(kSeriesColours)]);
  }
  for (const ProfileRow& row : profile_rows(networks)) {
    for (std::size_t n = 0; n < networks.size(); ++n) {
      const ProfiledSite* site = row.places[n];
      if (!site || !(site->*what > 0)) continue;  // on a log scale
      rows.push_back({{"site", row.first->name},
                      {"network", networks[n].label},
                      {"max", number(site->maximum)},
                      {"mean", number(site->mean)},
                      {"value", number(site->*what)}});
    }
  }
  const Json colour = {
      {"field", "network"},
      {"type", "nominal"},
      {"scale", {{"domain", labels}, {"range", colours}}},
      {"legend",
       networks.size() > 1 ? Json({{"title", nullptr}, {"orient", "top"}}) : Json(nullptr)}};
  const Json x = {{"field", "site"},
                  {"type", "nominal"},
                  {"sort", nullptr},
                  {"axis", {{"title", nullptr}, {"labelAngle", -60}, {"labelLimit", 160}}}};
  const Json y = {{"field", "value"},
                  {"type", "quantitative"},
                  {"scale", {{"type", "log"}}},
                  {"axis", {{"title", title}, {"format", "~g"}}}};
  const Json tooltips =
      Json::array({tooltip("site", "site"), tooltip("network", "network"),
                   tooltip("max", "max |x|", ".4g"), tooltip("mean", "mean |x|", ".4g")});
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", std::string(title) + " of each site"},
          {"config", chart_config()},
          {"width", 980},
          {"height", 240},
          {"data", {{"values", rows}}},
          {"mark", {{"type", "line"}, {"point", {{"size", 40}}}, {"strokeWidth", 1.2}}},
          {"encoding", {{"x", x}, {"y", y}, {"color", colour}, {"tooltip", tooltips}}}};
}

}  // namespace

std::string profile_text(const std::vector<ProfiledNetwork>& networks, int width) {
  const ReportTable table = profile_table(networks);
  std::string text = table_text(table, width);
  for (const ProfiledNetwork& network : networks) {
    text += (networks.size() > 1 ? network.label + ": " : std::string()) + network.model + ", " +
            std::to_string(network.images) + " images\n";
  }
  return text + wrapped(table.note, static_cast<std::size_t>(std::max(40, width)), "");
}

std::string profile_json(const std::vector<ProfiledNetwork>& networks) {
  Json list = Json::array();
  for (const ProfiledNetwork& network : networks) {
    Json sites = Json::array();
    for (const ProfiledSite& site : network.sites) {
      sites.push_back({{"site", site.name},
                       {"target", site.target},
                       {"operation", site.operation},
                       {"maximum", number(site.maximum)},
                       {"mean", number(site.mean)},
                       {"values", site.values},
                       {"nonfinite", site.nonfinite}});
    }
    list.push_back({{"label", network.label},
                    {"model", network.model},
                    {"images", network.images},
                    {"sites", sites}});
  }
  return json_text(Json{{"schema", "bitfall.profile/1"}, {"networks", list}}) + "\n";
}

std::string profile_charts_json(const std::vector<ProfiledNetwork>& networks) {
  return json_text(Json{{"maximum", profile_chart(networks, &ProfiledSite::maximum, "largest |x|")},
                        {"mean", profile_chart(networks, &ProfiledSite::mean, "mean |x|")}},
                   -1);
}

void write_profile_html(const std::vector<ProfiledNetwork>& networks,
                        const std::optional<std::string>& bundle,
                        const std::filesystem::path& path) {
  HtmlPage page;
  page.title = "Bitfall: values of";
  for (const ProfiledNetwork& network : networks) page.title += " " + network.label;
  page.body = "<h1>Values at the sites</h1>\n";
  for (const ProfiledNetwork& network : networks) {
    page.body += "<p class=\"lead\">" +
                 html_escaped(network.label + ": " + network.model + ", " +
                              std::to_string(network.images) + " images") +
                 "</p>\n";
  }
  if (bundle) {
    page.body +=
        "<h2>Largest absolute value</h2>\n<div class=\"chart\" id=\"chart-maximum\"></div>\n"
        "<h2>Mean absolute value</h2>\n<div class=\"chart\" id=\"chart-mean\"></div>\n";
    page.charts = profile_charts_json(networks);
  } else {
    page.body +=
        "<p class=\"note\">No charts: the charting library was not installed when this page was "
        "written. Run <code>scripts/setup.sh</code>, build again and repeat the command.</p>\n";
  }
  const ReportTable table = profile_table(networks);
  page.body += "<h2>Table</h2>\n<p class=\"note\">" + html_escaped(table.note) + "</p>\n" +
               table_html(table);
  write_html_page(page, bundle, path);
}

}  // namespace bitfall
