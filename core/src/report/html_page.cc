#include "html_page.h"

#include <boost/dll/runtime_symbol_info.hpp>

#include "atomic_file.h"
#include "error.h"
#include "text_file.h"

namespace bitfall {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The policy lets the page run what it holds and fetch nothing. Vega compiles its expressions
// ('unsafe-eval').
constexpr const char* kHead = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="Bitfall">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
  script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:">
<link rel="icon" href="data:,">
)html";

constexpr const char* kStyle = R"html(<style>
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1160px; padding: 20px 20px 60px;
  font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
h1 { font-size: 24px; margin: 0 0 2px; }
h2 { font-size: 18px; margin: 34px 0 8px; border-bottom: 1px solid #ccc; padding-bottom: 3px; }
p { margin: 6px 0 10px; max-width: 90ch; }
.lead { color: #555; margin-bottom: 14px; overflow-wrap: anywhere; }
.warning { border-left: 5px solid #D55E00; background: #fdf3ec; padding: 7px 12px; margin: 7px 0;
  overflow-wrap: anywhere; }
.numbers { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0; }
.number { flex: 1 1 170px; border: 1px solid #d5d5d5; border-radius: 6px; padding: 8px 10px; }
.number b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; }
.number span { color: #555; font-size: 13px; }
.chart { overflow-x: auto; padding-bottom: 4px; }
.facts { display: grid; grid-template-columns: repeat(2, max-content minmax(0, 1fr));
  gap: 2px 14px; font-size: 14px; }
.facts dt { color: #555; } .facts dd { margin: 0; overflow-wrap: anywhere; }
dl.terms { font-size: 14px; display: grid; grid-template-columns: max-content minmax(0, 1fr);
  gap: 3px 14px; }
dl.terms dt { font-weight: 600; } dl.terms dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: 12px; margin: 8px 0;
  font-variant-numeric: tabular-nums; }
th { text-align: right; border-bottom: 2px solid #999; padding: 3px 5px; vertical-align: bottom;
  font-weight: 600; }
td { text-align: right; padding: 2px 5px; border-bottom: 1px solid #e8e8e8; white-space: nowrap; }
th.text, td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 5em; }
td.text:first-child { min-width: 12em; }
table.worst td.text:first-child { min-width: 0; white-space: nowrap; }
tr.total td { border-top: 2px solid #999; font-weight: 600; }
code { background: #f3f3f3; padding: 1px 5px; border-radius: 3px; overflow-wrap: anywhere; }
details > summary { cursor: pointer; color: #0072B2; margin: 6px 0; }
.note { color: #555; font-size: 13px; }
th.sortable { cursor: pointer; }
th.sortable:hover { text-decoration: underline; }
@media screen and (prefers-color-scheme: dark) {
  body { color: #e4e4e4; background: #161616; }
  h2 { border-color: #555; }
  .lead, .number span, .facts dt, .note { color: #a8a8a8; }
  .warning { background: #33231a; }
  .number { border-color: #444; }
  td { border-color: #333; }
  code { background: #2a2a2a; }
  details > summary { color: #56B4E9; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  h2 { break-after: avoid; }
  tr, .number, .warning { break-inside: avoid; }
  .vega-actions, details > summary { display: none; }
}
</style>
)html";

// A click on a column's title, or Enter, sorts its table by the numbers that cells are or begin
// with, else as text in which numbers count: layer2 before layer10.
// Tables in groups, whose rows belong to those above, stay as they are.
constexpr const char* kSort = R"html(<script type="module">
const units = {k: 1e3, M: 1e6, G: 1e9, T: 1e12};
const key = cell => {
  const text = cell.textContent.trim();
  const found = /^[~<>\s]*([-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?)(?:\s([kMGT]))?(?=[\s%*]|$)/i.exec(text);
  return found ? parseFloat(found[1].replaceAll(',', '')) * (units[found[2]] ?? 1) : text;
};
const order = (a, b) => {
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return typeof a === 'number' ? a - b : a.localeCompare(b, 'en', {numeric: true});
};
for (const table of document.querySelectorAll('table[data-sortable]')) {
  const titles = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  titles.forEach((title, column) => {
    title.classList.add('sortable');
    title.title = 'sort';
    title.tabIndex = 0;
    title.addEventListener('keydown', event => event.key === 'Enter' && title.click());
    title.addEventListener('click', () => {
      const up = title.getAttribute('aria-sort') === 'descending';
      titles.forEach(other => other.removeAttribute('aria-sort'));
      title.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const rows = [...body.rows].filter(row => !row.classList.contains('total'));
      rows.sort((first, second) => {
        const a = key(first.cells[column]), b = key(second.cells[column]);
        return order(a, b) * (typeof a === typeof b && !up ? -1 : 1);  // what has no number comes last
      });
      const last = [...body.rows].filter(row => row.classList.contains('total'));
      body.append(...rows, ...last);
    });
  });
}
</script>
)html";

constexpr const char* kDraw = R"html(<script type="module">
const dark = window.matchMedia('(prefers-color-scheme: dark)').matches;
let text = document.getElementById('charts').textContent;
if (dark) {
  const other = {'#222222': '#d0d0d0', '#444444': '#c8c8c8', '#DDDDDD': '#4a4a4a',
                 '#eeeeee': '#333333', '#bbbbbb': '#555555'};
  text = text.replace(/#222222|#444444|#DDDDDD|#eeeeee|#bbbbbb/g, colour => other[colour]);
}
const charts = JSON.parse(text);
const options = {mode: 'vega-lite', renderer: 'svg',
  actions: {export: true, source: false, compiled: false, editor: false}};
for (const [name, chart] of Object.entries(charts)) {
  const place = document.getElementById('chart-' + name);
  if (!place) continue;
  if (dark) {
    const config = chart.config ?? {};
    chart.background = 'transparent';
    chart.config = {...config,
      axis: {...config.axis, titleColor: '#d0d0d0', domainColor: '#777777', tickColor: '#777777'},
      legend: {...config.legend, labelColor: '#d0d0d0', titleColor: '#d0d0d0'},
      title: {...config.title, color: '#e4e4e4'}};
  }
  window.vegaEmbed(place, chart, options).catch(error => {
    place.textContent = 'This chart could not be drawn (' + error.message +
      '). The table below has its numbers.';
  });
}
</script>
)html";

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::optional<std::string> vega_bundle() {
  const auto program = std::filesystem::path(boost::dll::program_location().string());
  const auto path = program.parent_path().parent_path() / BITFALL_SHARE_DIR / "vega-bundle.js";
  if (!std::filesystem::exists(path)) return std::nullopt;
  return read_text(path);
}

void prove_own_page(const std::filesystem::path& path, const char* option) {
  std::error_code absent;
  if (!std::filesystem::exists(path, absent) || is_own_page(path)) return;
  throw Error(
      ExitCode::kUsage,
      path.string() + ": is not a page of this program, so it is kept; rename it, or " + option);
}

void write_html_page(const HtmlPage& page, const std::optional<std::string>& bundle,
                     const std::filesystem::path& path) {
  std::string html = std::string(kHead) + "<title>" + html_escaped(page.title) + "</title>\n" +
                     kStyle + "</head>\n<body>\n" + page.body;
  if (bundle && !page.charts.empty()) {
    // Within a script element only "</script" and "<!--" end or change it; JSON can spell '<'
    // otherwise.
    html += "<script type=\"application/json\" id=\"charts\">" +
            replaced(page.charts, "<", "\\u003c") + "</script>\n";
    html +=
        "<script type=\"module\">" + replaced(*bundle, "</script", "<\\/script") + "</script>\n";
    html += kDraw;
  }
  write_file_atomically(path, html + kSort + "</body>\n</html>\n");
}

}  // namespace bitfall
