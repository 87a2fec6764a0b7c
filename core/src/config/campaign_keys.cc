#include <limits>

#include "key_table.h"

namespace bitfall {
namespace {

constexpr double kMost = std::numeric_limits<double>::infinity();
constexpr bool kOpen = true;
constexpr bool kClosed = false;

// clang-format off
constexpr SectionSpec kSections[] = {
    {"campaign", false, false, false, "the campaign as a whole"},
    {"model", false, true, false, "the network"},
    {"data", false, true, false, "images, labels and preprocessing"},
    {"format", false, false, true, "the number format that the values of all sites are stored in"},
    {"formats", true, false, false,
     "another number format at some sites; may be repeated, and the last that matches holds"},
    {"calibration", false, false, false, "what formats with a fixed scale learn from golden data"},
    {"faults", true, false, false, "which faults hit where, and how many; may be repeated"},
    {"metrics", false, false, false, "what is measured of a trial"},
    {"plugins", false, false, false, "further plugins"},
    {"run", false, false, false, "how the campaign is run"},
};

// section, key, type, default, minimum, maximum, open ends, choices, help
constexpr KeySpec kKeys[] = {
    {"campaign", "seed", KeyType::kInteger, "1", 0, kMost, kClosed, nullptr,
     "Seed of every random draw; the same seed gives the same trials."},
    {"campaign", "output", KeyType::kPath, "", -kMost, kMost, kClosed, nullptr,
     "Run directory; unset: `runs/` and the campaign file's name without its extension."},
    {"campaign", "hit_value", KeyType::kText, "\"raw\"", -kMost, kMost, kClosed, "raw|clamped",
     "`raw`: a faulty value is used as decoded; `clamped`: it is cut to the golden range of its "
     "site, NaN and Inf too."},
    {"campaign", "clip", KeyType::kNumber, "10.0", 0, kMost, kOpen, nullptr,
     "Nats at which a trial's loss change is cut for the clipped mean."},
    {"campaign", "confidence", KeyType::kNumber, "0.99", 0, 1, kOpen, nullptr,
     "Confidence of all intervals."},

    {"model", "path", KeyType::kPath, nullptr, -kMost, kMost, kClosed, nullptr,
     "TorchScript file of the classifier."},

    {"data", "path", KeyType::kPath, nullptr, -kMost, kMost, kClosed, nullptr,
     "Folder with one folder of images a class, or images in one .npy file "
     "([N,C,H,W] float32 or [N,H,W,C] uint8)."},
    {"data", "labels", KeyType::kPath, "", -kMost, kMost, kClosed, nullptr,
     "Labels of an images .npy: a .npy file of N integers."},
    {"data", "classes", KeyType::kPath, "", -kMost, kMost, kClosed, nullptr,
     "Text file with a class name a line, in the order of the model's outputs; "
     "unset: the folder names, sorted."},
    {"data", "limit", KeyType::kInteger, "0", 0, 2147483647, kClosed, nullptr,
     "Number of images to use, taken evenly from the classes; 0 = all."},
    {"data", "on_error", KeyType::kText, "\"fail\"", -kMost, kMost, kClosed, "fail|skip",
     "What a broken image does: end the campaign, or be left out and named."},
    {"data", "preprocess", KeyType::kTable, "", -kMost, kMost, kClosed, nullptr,
     "What happens to a decoded image, in the order of the keys below."},

    {"data.preprocess", "colour", KeyType::kText, "\"rgb\"", -kMost, kMost, kClosed, "rgb|grey",
     "Channels that an image is decoded to: three or one."},
    {"data.preprocess", "resize", KeyType::kSize, "", 1, 65535, kClosed, nullptr,
     "Length in pixels that the shorter side is resized to (bilinear, as Pillow), "
     "or [height, width]."},
    {"data.preprocess", "crop", KeyType::kInteger, "", 1, 65535, kClosed, nullptr,
     "Side in pixels of the square cut from the centre; smaller images are padded with zeros."},
    {"data.preprocess", "scale", KeyType::kScale, "\"1/255\"", 0, kMost, kOpen, nullptr,
     "Factor on pixel values 0 to 255."},
    {"data.preprocess", "mean", KeyType::kNumbers, "", -kMost, kMost, kClosed, nullptr,
     "Subtracted after scaling: one number a channel; unset: 0."},
    {"data.preprocess", "std", KeyType::kNumbers, "", 0, kMost, kOpen, nullptr,
     "Divided by after the mean is subtracted: one number a channel; unset: 1."},

    {"format", "id", KeyType::kText, "\"fp32\"", -kMost, kMost, kClosed, nullptr,
     "Number format, from `bitfall plugin list`; its options stand beside."},

    {"formats", "format", KeyType::kComponent, nullptr, -kMost, kMost, kClosed, nullptr,
     "Number format of these sites: its id, or a table with `id` and its options."},
    {"formats", "target", KeyType::kText, "\"activation\"", -kMost, kMost, kClosed,
     "activation|weight|input",
     "What is stored so, hit or not: outputs of operations, parameters, or the model's input."},
    {"formats", "operations", KeyType::kTexts, "[\"conv\", \"linear\"]", -kMost, kMost,
     kClosed, nullptr, "Kinds of operation, as in `[[faults]]`."},
    {"formats", "sites", KeyType::kTexts, "[\"*\"]", -kMost, kMost, kClosed, nullptr,
     "Names of sites, as in `[[faults]]`."},

    {"calibration", "rule", KeyType::kText, "\"absmax\"", -kMost, kMost, kClosed,
     "absmax|percentile",
     "The magnitude that a scale just holds: the largest golden one, or a percentile of them."},
    {"calibration", "percentile", KeyType::kNumber, "", 0, 100, kClosed, nullptr,
     "Per cent of a site's golden magnitudes that lie within, for `rule = \"percentile\"`; "
     "taken to 1/256 of the magnitude, upwards; unset: 99.9."},
    {"calibration", "images", KeyType::kInteger, "0", 0, 2147483647, kClosed, nullptr,
     "Number of images to learn from, a random sample of the data; 0 = all."},

    {"faults", "error_model", KeyType::kComponent, "\"bit_flip\"", -kMost, kMost, kClosed, nullptr,
     "Error model, from `bitfall plugin list`: its id, or a table with `id` and its options."},
    {"faults", "target", KeyType::kText, "\"activation\"", -kMost, kMost, kClosed,
     "activation|weight|input",
     "What is hit: outputs of operations, parameters, or the model's input."},
    {"faults", "operations", KeyType::kTexts, "[\"conv\", \"linear\"]", -kMost, kMost,
     kClosed, nullptr,
     "Kinds of operation whose sites are hit, from `bitfall sites`; `\"*\"` = every kind."},
    {"faults", "sites", KeyType::kTexts, "[\"*\"]", -kMost, kMost, kClosed, nullptr,
     "Names of sites; `*` stands for any text, `?` for one character, `[abc]` for one of these."},
    {"faults", "per_site", KeyType::kInteger, "1024", 1, 1000000000, kClosed, nullptr,
     "Trials at each site. Only one of `per_site`, `total` and `precision` may be given."},
    {"faults", "total", KeyType::kInteger, "", 1, 100000000, kClosed, nullptr,
     "Trials over all sites, each site in proportion to its population of faults."},
    {"faults", "precision", KeyType::kNumber, "", 0, 0.5, kOpen, nullptr,
     "Largest half-width of a site's interval at the campaign's confidence "
     "(0.01 = 1 percentage point); sets the trials."},

    {"faults", "permanent", KeyType::kFlag, "false", -kMost, kMost, kClosed, nullptr,
     "`true`: a fault stays while every image passes, a trial for each; then `per_site`, `total` "
     "and `precision` count faults."},

    {"metrics", "ids", KeyType::kComponents,
     "[\"delta_loss\", \"mismatch\", \"misclassified\", \"top2diff\", \"output_error\"]", -kMost,
     kMost, kClosed, nullptr,
     "Metrics, from `bitfall plugin list`: ids, or tables with `id` and options."},

    {"plugins", "paths", KeyType::kPaths, "[]", -kMost, kMost, kClosed, nullptr,
     "Shared libraries to load beside those that come with the program."},

    {"run", "device", KeyType::kText, "\"cpu\"", -kMost, kMost, kClosed, nullptr,
     "`cpu`, `cuda` or `cuda:N`."},
    {"run", "batch", KeyType::kInteger, "0", 0, 65536, kClosed, nullptr,
     "Images a pass, each with a fault of its own; decides results' last bits. 0 = chosen by timing "
     "the model, as `threads` and `workers`, and stored with the run."},
    {"run", "threads", KeyType::kInteger, "0", 0, 4096, kClosed, nullptr,
     "Threads of LibTorch in each worker; may decide last bits. 0 = chosen."},
    {"run", "suffix", KeyType::kFlag, "true", -kMost, kMost, kClosed, nullptr,
     "Run only the steps behind a fault; false: the whole network each time (slow, same results)."},
    {"run", "early_stop", KeyType::kFlag, "true", -kMost, kMost, kClosed, nullptr,
     "Finish a trial where nothing of its damage is left, and pack those that go on into fewer "
     "passes; false: same results, slower."},
    {"run", "share", KeyType::kFlag, "true", -kMost, kMost, kClosed, nullptr,
     "Run faults that put the same values into the same image once; false: same results."},
    {"run", "regions", KeyType::kFlag, "true", -kMost, kMost, kClosed, nullptr,
     "Recompute only the windows of maps that a fault can have reached, where that gives the same "
     "bits; false: whole images, same results."},
    {"run", "memory_budget", KeyType::kInteger, "2048", 0, 1 << 30, kClosed, nullptr,
     "MiB of fault-free values to keep beside what a bare pass needs; beyond it they are computed "
     "twice. No effect on results."},
    {"run", "workers", KeyType::kInteger, "0", 0, 4096, kClosed, nullptr,
     "Threads that run chunks of images beside each other on the CPU, each with `threads` of "
     "LibTorch; no effect on results. 0 = chosen."},
    {"run", "commit_every", KeyType::kInteger, "256", 1, 1000000000, kClosed, nullptr,
     "Trials a transaction of the result file; a crash loses at most these, or 5 seconds' worth."},
};
// clang-format on

}  // namespace

const KeyTable& campaign_keys() {
  static constexpr KeyTable kTable{"a campaign file", kSections, kKeys};
  return kTable;
}

}  // namespace bitfall
