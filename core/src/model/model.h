// A model with its sites. No LibTorch type is needed to include this.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answer_choice.h"
#include "error.h"
#include "image_axis.h"
#include "named_shape.h"
#include "sites.h"

namespace at {
class Tensor;
}

namespace bitfall {

class Program;
struct SharedView;

/// How a network is opened.
struct ModelOptions {
  std::array<std::int64_t, 3> input = {};  // C, H, W
  std::int64_t batch = 1;
  std::string device = "cpu";
  AnswerChoice answer;  // which of several results it is
  /// What sites are proven on: the values of at least `batch` images [any, C, H, W], further ones
  /// to exchange them for; empty = noise.
  std::vector<float> images = {};
};

class Model {
 public:
  /// Loads the model and finds its sites for inputs [batch, C, H, W]. Proves for each activation
  /// site that its output lies image by image along one dimension: with one image of the batch
  /// replaced, that image's part and nothing else changes, and with all others replaced it does
  /// not; a site that fails has a refusal. Sites come in network order: the input, activations by
  /// step, parameters. Throws Error(kInput) when the model cannot run on such an input (says:
  /// shape).
  Model(const std::filesystem::path& path, const ModelOptions& options);
  Model(Model&&) noexcept;
  ~Model();

  const std::vector<Site>& sites() const;
  std::int64_t classes() const;  // width of the answer
  /// Why faults on this model cannot be measured: its answer differs between two equal runs, or one
  /// image's depends on another's. Empty if neither was seen.
  const std::string& unfit() const;
  std::int64_t batch() const;
  std::array<std::int64_t, 3> input() const;
  const std::string& device() const;

  /// The first step that writes in place to what may be told apart from a copy (copy_on_write.h), as
  /// "blocks.0/append"; empty if there is none. With one no fault-free value can be kept.
  std::string writer() const;

  const Program& program() const;
  bool is_weight(std::int32_t site) const;
  /// The slots that hold the site's value (several for a parameter read in several places).
  const std::vector<int>& slots(std::int32_t site) const;
  /// The first step that reads a changed value at this site: runs start here.
  int first_step(std::int32_t site) const;
  /// Where the slot's value holds the images; exists() only where it is proven to.
  const ImageAxis& images(int slot) const;
  /// True if the slot's value is the same for every batch of images, as far as was seen: constants,
  /// sizes, masks.
  bool image_independent(int slot) const;
  /// True if what a row holds does not depend on which row it is: seen on a batch turned by one
  /// row, bit for bit, in every value that lies image by image.
  bool rows_alike() const;
  const AnswerTaken& answer() const;
  /// The answers that were seen look like probabilities and not like logits.
  bool answers_probabilities() const;
  /// Other tensors in the memory of a parameter, which a fault in it changes as well.
  const std::vector<SharedView>& overlaps(std::int32_t site) const;
  /// All parameters, used or not, in the order in which their modules were registered.
  std::vector<NamedShape> named_parameters() const;
  /// A parameter's value; undefined for other sites.
  at::Tensor parameter(std::int32_t site) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The batch that a network's trace holds: it runs on so many images, 1 to 32, though not on
/// options.batch. Nothing where it runs on none, or cannot be read.
std::optional<std::int64_t> find_fixed_batch(const std::filesystem::path& path,
                                             const ModelOptions& options);

/// Whether a pass of LibTorch ended for want of memory, of the host or of a device.
bool out_of_memory(const std::exception& error);

/// What to say when a model cannot run on an input of this shape ("8x3x32x32").
Error input_misfit(const std::filesystem::path& model, const std::string& shape,
                   const std::exception& error);

}  // namespace bitfall
