#include <array>

#include "config.h"
#include "key_table.h"

namespace bitfall {
namespace {

constexpr std::array kOnError = {"fail", "skip"};
constexpr std::array kSplits = {"train", "test"};
constexpr std::array kColours = {"rgb", "grey"};

std::vector<std::string> ids_of(const std::vector<PluginChoice>& choices) {
  std::vector<std::string> ids;
  for (const PluginChoice& choice : choices) ids.push_back(choice.id);
  return ids;
}

// clang-format off
constexpr SectionSpec kSections[] = {
    {"campaign", false, false, false, "the campaign as a whole"},
    {"model", false, true, false, "the network"},
    {"data", false, true, false, "images, labels and preprocessing"},
    {"format", false, false, true, "the number format that the values of all sites are stored in"},
    {"formats", true, false, false,
     "another number format at some sites; may be repeated, and the last that matches holds"},
    {"calibration", false, false, false, "what formats with a fixed scale, and the bounds of clamped hit values, learn from golden data"},
    {"faults", true, false, false, "which faults hit where, and how many; may be repeated"},
    {"metrics", false, false, false, "what is measured in each trial"},
    {"protect", true, false, false,
     "a protection of the network, with which the same trials are run once more; may be repeated"},
    {"learn", false, false, false,
     "the images that protections learn their bounds from; what is not said here is as in `[data]`"},
    {"plugins", false, false, false, "further plugins"},
    {"run", false, false, false, "how the campaign is run"},
};

const Campaign kSilent;  // as read from a file that says nothing

// section, key, type, default, minimum, maximum, open ends, choices, help
const KeySpec kKeys[] = {
    {"campaign", "seed", KeyType::kInteger, toml_text(static_cast<std::int64_t>(kSilent.seed)), 0, kUnbounded, kClosed, {},
     "Seed of every random draw; the same seed gives the same trials."},
    {"campaign", "output", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Run directory; unset: `runs/` and the campaign file's name without its extension."},
    {"campaign", "hit_value", KeyType::kText, toml_choice(kHitValueNames, kSilent.hit_value), -kUnbounded, kUnbounded, kClosed, kHitValueNames,
     "`raw`: a faulty value is used as decoded; `clamped`: it is cut to plus or minus the largest "
     "golden magnitude of its site, NaN and Inf too."},
    {"campaign", "clip", KeyType::kNumber, toml_text(kSilent.clip), 0, kUnbounded, kOpen, {},
     "Nats at which a trial's loss change is cut for the clipped mean."},
    {"campaign", "confidence", KeyType::kNumber, toml_text(kSilent.confidence), 0, 1, kOpen, {},
     "Confidence of all intervals."},

    {"model", "path", KeyType::kPath, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "File of the classifier: TorchScript, or a torch.export archive (.pt2)."},
    {"model", "output", KeyType::kText, "", -kUnbounded, kUnbounded, kClosed, {},
     "Which result of forward is the answer, where it gives several: its key in a dictionary, or its "
     "number in a tuple or list, counted from 0; unset: the only one that can be, or `logits`."},
    {"model", "libraries", KeyType::kPaths, "[]", -kUnbounded, kUnbounded, kClosed, {},
     "Libraries that bring operators which the network uses and PyTorch itself has not."},
    {"model", "answer", KeyType::kText, toml_choice(kAnswerKindNames, kSilent.answer), -kUnbounded, kUnbounded, kClosed, kAnswerKindNames,
     "What the network answers with; of `probabilities` the loss is -log p."},

    {"data", "path", KeyType::kPath, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "Folder with one folder of images per class, or of images that `list` names, or images in one "
     ".npy file ([N,C,H,W] float32 or [N,H,W,C] uint8)."},
    {"data", "list", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Images of the folder and their labels, in a text, CSV or JSON file; unset: all images, by "
     "their folders."},
    {"data", "split", KeyType::kText, "", -kUnbounded, kUnbounded, kClosed, kSplits,
     "Of CIFAR-10, CIFAR-100, STL-10 and Food-101 in their authors' files: which images; unset: `test`, and of "
     "`[data]` of a training `train`."},
    {"data", "labels", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Labels of an images .npy: a .npy file of N integers, counted from 0."},
    {"data", "classes", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Class names in the order of the model's outputs: a text file, one per line, or JSON; unset: "
     "the folder names, sorted as text."},
    {"data", "limit", KeyType::kInteger, toml_text(kSilent.data.limit), 0, 2147483647, kClosed, {},
     "Number of images to use, taken evenly from the classes; 0 = all."},
    {"data", "only", KeyType::kText, toml_choice(kOnlyImagesNames, kSilent.data.only), -kUnbounded, kUnbounded, kClosed, kOnlyImagesNames,
     "`correct`: only images that the network gets right without a fault, in plain FP32, as "
     "published ratios were taken; runs of other networks then see other images, and cannot be "
     "compared: `bitfall compare --only correct` judges whole runs by the images that all get right."},
    {"data", "on_error", KeyType::kText, toml_text(kSilent.data.on_error), -kUnbounded, kUnbounded, kClosed, kOnError,
     "What to do about a broken image: end the campaign, or leave the image out and name it."},
    {"data", "preprocess", KeyType::kTable, "", -kUnbounded, kUnbounded, kClosed, {},
     "What happens to a decoded image, in the order of the keys below."},

    {"data.preprocess", "colour", KeyType::kText, toml_text(kSilent.data.preprocess.colour), -kUnbounded, kUnbounded, kClosed, kColours,
     "Channels that an image is decoded to: three or one."},
    {"data.preprocess", "resize", KeyType::kSize, "", 1, kLongestSide, kClosed, {},
     "Length in pixels that the shorter side is resized to, as Pillow does it, or [height, width]."},
    {"data.preprocess", "interpolation", KeyType::kText, "", -kUnbounded, kUnbounded, kClosed, kInterpolationNames,
     "Pillow's filter of `resize`; unset: what the model file's `bitfall.json` says, else bilinear."},
    {"data.preprocess", "crop", KeyType::kInteger, "", 1, kLongestSide, kClosed, {},
     "Side in pixels of the square cut from the centre; smaller images are padded with zeros."},
    {"data.preprocess", "scale", KeyType::kScale, "\"1/255\"", 0, kUnbounded, kOpen, {},
     "Factor on pixel values 0 to 255."},
    {"data.preprocess", "mean", KeyType::kNumbers, "", -kUnbounded, kUnbounded, kClosed, {},
     "Subtracted after scaling: one number per channel; unset: 0."},
    {"data.preprocess", "std", KeyType::kNumbers, "", 0, kUnbounded, kOpen, {},
     "Divisor after the mean is subtracted: one number per channel; unset: 1."},

    {"format", "id", KeyType::kText, toml_text(kSilent.format.id), -kUnbounded, kUnbounded, kClosed, {},
     "Number format, from `bitfall plugin list`; its options are further keys of this table."},

    {"formats", "format", KeyType::kComponent, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "Number format of these sites: its id, or a table with `id` and its options."},
    {"formats", "target", KeyType::kText, toml_choice(kTargetNames, SiteSelection().target), -kUnbounded, kUnbounded, kClosed,
     kTargetNames,
     "What is stored in it, hit or not: outputs of operations, parameters, or the model's input."},
    {"formats", "operations", KeyType::kTexts, toml_text(SiteSelection().operations), -kUnbounded, kUnbounded,
     kClosed, {}, "Kinds of operation, as in `[[faults]]`."},
    {"formats", "sites", KeyType::kTexts, toml_text(SiteSelection().sites), -kUnbounded, kUnbounded, kClosed, {},
     "Names of sites, as in `[[faults]]`."},

    {"calibration", "rule", KeyType::kText, toml_choice(kCalibrationRuleNames, kSilent.calibration.rule), -kUnbounded, kUnbounded, kClosed,
     kCalibrationRuleNames,
     "The magnitude that a scale just holds: the largest golden one, or a percentile of them."},
    {"calibration", "percentile", KeyType::kNumber, "", 0, 100, kClosed, {},
     "Per cent of a site's golden magnitudes that the scale holds, for `rule = \"percentile\"`; "
     "the magnitude is rounded up by at most 1/256; unset: 99.9."},
    {"calibration", "images", KeyType::kInteger, toml_text(kSilent.calibration.images), 0, 2147483647, kClosed, {},
     "Number of images to learn from, a random sample of the data; 0 = all."},
    {"calibration", "path", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Images to learn from, as in `[data] path`: of the training set, as published; unset: those that are attacked."},
    {"calibration", "list", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Images of that folder, as in `[data]`."},
    {"calibration", "labels", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Labels of an images .npy, as in `[data]`."},
    {"calibration", "limit", KeyType::kInteger, "", 0, 2147483647, kClosed, {},
     "Number of these images, taken evenly from the classes; 0 = all."},
    {"calibration", "round", KeyType::kText, toml_choice(kBoundRoundingNames, kSilent.calibration.round), -kUnbounded, kUnbounded, kClosed,
     kBoundRoundingNames,
     "Of `hit_value = \"clamped\"`: `fp16` rounds bounds to FP16, as published; beyond 65504 they are Inf, which cuts nothing."},

    {"faults", "error_model", KeyType::kComponent, toml_text(FaultsConfig().error_model.id), -kUnbounded, kUnbounded, kClosed, {},
     "Error model, from `bitfall plugin list`: its id, or a table with `id` and its options."},
    {"faults", "target", KeyType::kText, toml_choice(kTargetNames, SiteSelection().target), -kUnbounded, kUnbounded, kClosed,
     kTargetNames,
     "What is hit: outputs of operations, parameters, or the model's input."},
    {"faults", "operations", KeyType::kTexts, toml_text(SiteSelection().operations), -kUnbounded, kUnbounded,
     kClosed, {},
     "Kinds of operation whose sites are hit, from `bitfall sites`; `\"*\"` = every kind."},
    {"faults", "sites", KeyType::kTexts, toml_text(SiteSelection().sites), -kUnbounded, kUnbounded, kClosed, {},
     "Names of sites; `*` stands for any text, `?` for one character, `[abc]` for one of these."},
    {"faults", "per_site", KeyType::kInteger, toml_text(kDefaultPerSite), 1, 1000000000, kClosed, {},
     "Trials at each site. Only one of `per_site`, `total` and `precision` may be given."},
    {"faults", "total", KeyType::kInteger, "", 1, 100000000, kClosed, {},
     "Trials over all sites, each site in proportion to its population of faults."},
    {"faults", "precision", KeyType::kNumberOrTable, "", 0, 0.5, kOpen, {},
     "A number: largest half-width of a site's interval at the campaign's confidence "
     "(0.01 = 1 percentage point); sets the trials. A table, as in "
     "`precision = { halfwidth = 0.002 }`: trials are drawn by strata (site by bits), more where more is "
     "uncertain, until the interval of a rate of the whole network is as narrow."},
    {"faults", "permanent", KeyType::kFlag, toml_text(FaultsConfig().permanent), -kUnbounded, kUnbounded, kClosed, {},
     "`true`: a fault stays for all images, with one trial for each image; then `per_site`, "
     "`total` and `precision` count faults."},

    {"faults.precision", "halfwidth", KeyType::kNumber, std::nullopt, 1e-6, 0.5, kOpen, {},
     "Half-width of the interval that ends the run (0.002 = 0.2 percentage points)."},
    {"faults.precision", "of", KeyType::kText, toml_text(PrecisionGoal().of), -kUnbounded, kUnbounded, kClosed, {},
     "Whose interval: a metric's column of events, such as `mismatch`, `misclassified`, `nonfinite`."},
    {"faults.precision", "confidence", KeyType::kNumber, "", 0, 1, kOpen, {},
     "Confidence of that interval; default: the campaign's."},
    {"faults.precision", "over", KeyType::kText, toml_choice(kPrecisionOverNames, PrecisionGoal().over), -kUnbounded, kUnbounded,
     kClosed, kPrecisionOverNames,
     "`bits`: the rate of a fault anywhere in the network, each as likely as any other; `layers`: the mean of the layers' rates."},
    {"faults.precision", "minimum", KeyType::kInteger, toml_text(PrecisionGoal().minimum), 0, 1000000, kClosed, {},
     "Trials of each stratum in the pilot, which decides who is drawn how often and is not counted; 0 = 4 to 32, by the half-width."},
    {"faults.precision", "maximum", KeyType::kInteger, toml_text(PrecisionGoal().maximum), 1, 100000000, kClosed, {},
     "Trials in all, beyond which the run ends with the interval that it has, and says so."},

    {"metrics", "ids", KeyType::kComponents,
     toml_text(ids_of(kSilent.metrics)), -kUnbounded,
     kUnbounded, kClosed, {},
     "Metrics, from `bitfall plugin list`: ids, or tables with `id` and options."},

    {"protect", "protection", KeyType::kComponent, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "Protection, from `bitfall plugin list`: its id, or a table with `id` and its options."},
    {"protect", "name", KeyType::kText, "", -kUnbounded, kUnbounded, kClosed, {},
     "Name of its run, which lies in `protected/NAME` of the run directory; unset: the id. Entries of one name are one run, in which each "
     "guards places of its own."},
    {"protect", "target", KeyType::kText, toml_choice(kTargetNames, SiteSelection().target), -kUnbounded, kUnbounded, kClosed,
     kTargetNames, "What is guarded: outputs of operations, parameters, or the model's input."},
    {"protect", "operations", KeyType::kTexts, "[\"relu\"]", -kUnbounded, kUnbounded, kClosed, {},
     "Kinds of operation whose outputs are guarded, as in `[[faults]]`. What guards the answer alone selects no sites."},
    {"protect", "sites", KeyType::kTexts, toml_text(SiteSelection().sites), -kUnbounded, kUnbounded, kClosed, {},
     "Names of sites, as in `[[faults]]`."},

    {"protect", "exposed", KeyType::kFlag, "false", -kUnbounded, kUnbounded, kClosed, {},
     "`true`: drawn faults hit the learned numbers, too; then the trials are not those of the run without it."},

    {"learn", "path", KeyType::kPath, std::nullopt, -kUnbounded, kUnbounded, kClosed, {},
     "Images as in `[data] path`: of the training set, not those that are attacked."},
    {"learn", "list", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Images of the folder, as in `[data]`."},
    {"learn", "labels", KeyType::kPath, "", -kUnbounded, kUnbounded, kClosed, {},
     "Labels of an images .npy, as in `[data]`."},
    {"learn", "limit", KeyType::kInteger, "0", 0, 2147483647, kClosed, {},
     "Number of images to learn from, taken evenly from the classes; 0 = all."},

    {"plugins", "paths", KeyType::kPaths, "[]", -kUnbounded, kUnbounded, kClosed, {},
     "Shared libraries to load in addition to those that come with the program."},

    {"run", "device", KeyType::kText, toml_text(kSilent.device), -kUnbounded, kUnbounded, kClosed, {},
     "`cpu`, `cuda` or `cuda:N`."},
    {"run", "cpu", KeyType::kText, toml_choice(kCpuInstructionsNames, kSilent.cpu), -kUnbounded, kUnbounded, kClosed, kCpuInstructionsNames,
     "Instructions of the processor that the network is run with: all that it has, or `avx2` alone, so that machines with AVX2 and "
     "with AVX512 can share a campaign, if one maker made them. Decides last bits."},
    {"run", "tf32", KeyType::kFlag, toml_text(kSilent.tf32), -kUnbounded, kUnbounded, kClosed, {},
     "Let a GPU multiply float32 numbers with 10 bits of their fractions (TF32): faster, and another "
     "arithmetic than the CPU's. No effect on the CPU."},
    {"run", "batch", KeyType::kInteger, toml_text(kSilent.batch), 0, 65536, kClosed, {},
     "Images per pass, each with a fault of its own; may change results' last bits. 0 = chosen by "
     "timing the model, as `threads` and `workers`, and stored with the run."},
    {"run", "threads", KeyType::kInteger, toml_text(kSilent.threads), 0, 4096, kClosed, {},
     "Threads of LibTorch in each worker; may change results' last bits. 0 = chosen."},
    {"run", "suffix", KeyType::kFlag, toml_text(kSilent.suffix), -kUnbounded, kUnbounded, kClosed, {},
     "Run only the steps downstream of a fault; false: the whole network each time (slow, same "
     "results)."},
    {"run", "early_stop", KeyType::kFlag, toml_text(kSilent.early_stop), -kUnbounded, kUnbounded, kClosed, {},
     "Finish a trial as soon as nothing of its damage is left, and pack the others into fewer "
     "passes, together with those of other layers; false: same results, slower."},
    {"run", "share", KeyType::kFlag, toml_text(kSilent.share), -kUnbounded, kUnbounded, kClosed, {},
     "Run faults that put the same values into the same image once; false: same results."},
    {"run", "regions", KeyType::kFlag, toml_text(kSilent.regions), -kUnbounded, kUnbounded, kClosed, {},
     "Recompute only the windows of maps that a fault can have reached, where that gives the same "
     "bits; false: whole images, same results."},
    {"run", "pass_limit", KeyType::kNumber, toml_text(kSilent.pass_limit), 0, kUnbounded, kClosed, {},
     "Seconds of processor time after which a faulty pass counts as hung: a fault may decide how often "
     "a loop runs. 0 = 5 and 50 times those of a fault-free pass."},
    {"run", "self_replay", KeyType::kInteger, toml_text(kSilent.self_replay), 0, 1000000, kClosed, {},
     "Trials that a run with plugins of others runs again, with all components made anew: ahead of the first, when it goes on, and "
     "at the end, there in a new process; one that differs ends it with the component's name. 0 = none."},
    {"run", "plugin_limit", KeyType::kNumber, toml_text(kSilent.plugin_limit), 0.1, kUnbounded, kClosed, {},
     "Seconds that one call of a plugin may take; then the run ends with the plugin's name, and what is "
     "stored is kept."},
    {"run", "plugin_memory", KeyType::kInteger, toml_text(kSilent.plugin_memory), 0, 1 << 30, kClosed, {},
     "MiB that the process may take while plugins of others run, beyond what the opened network takes; then "
     "the run ends with the plugin's name. 0 = nine tenths of what is free; with --isolate 4096 more than `memory_budget`."},
    {"run", "memory_budget", KeyType::kInteger, toml_text(kSilent.memory_budget), 0, 1 << 30, kClosed, {},
     "MiB of fault-free values to keep in addition to what a bare pass needs; what does not fit is "
     "computed twice. As many again, up to a quarter of free memory, are kept for runs with a `[[protect]]` and further rounds of a goal. No effect on results."},
    {"run", "workers", KeyType::kInteger, toml_text(kSilent.workers), 0, 4096, kClosed, {},
     "Threads that run chunks of images in parallel on the CPU, each with `threads` of LibTorch; "
     "no effect on results. 0 = chosen."},
    {"run", "commit_every", KeyType::kInteger, toml_text(kSilent.commit_every), 1, 1000000000, kClosed, {},
     "Trials per transaction of the result file; a crash loses at most these, or 5 seconds' "
     "worth."},
};
// clang-format on

}  // namespace

const KeyTable& campaign_keys() {
  static const KeyTable kTable{"a campaign file", kSections, kKeys};
  return kTable;
}

}  // namespace bitfall
