#include "trials_ahead.h"

#include <atomic>
#include <cstddef>
#include <exception>
#include <semaphore>
#include <vector>

#include "worker_threads.h"

namespace bitfall {
namespace {

constexpr std::size_t kBatch = 1024;  // trials
constexpr std::ptrdiff_t kBatches = 2;

/// Batches go round between the thread that fills them and the one that empties them. One without a
/// trial is the last.
class Batches {
 public:
  /// What fill() ends with where the other thread has given up.
  struct GivenUp {};

  void fill(const TrialResult& trial) {
    if (!open_) take_free();
    open_->trials[open_->size++] = trial;
    if (open_->size == kBatch) hand_over();
  }
  void end(std::exception_ptr problem) {
    if (open_) hand_over();
    take_free();
    problem_ = std::move(problem);
    hand_over();
  }

  void empty(const std::function<void(const TrialResult&)>& f) {
    for (std::size_t emptied = 0;; ++emptied) {
      full_.acquire();
      const Batch& batch = batches_[emptied % kBatches];
      if (batch.size == 0) break;
      for (std::size_t i = 0; i < batch.size; ++i) f(batch.trials[i]);
      free_.release();
    }
    if (problem_) std::rethrow_exception(problem_);
  }
  void give_up() {
    given_up_ = true;
    free_.release();
  }

 private:
  struct Batch {
    std::vector<TrialResult> trials = std::vector<TrialResult>(kBatch);
    std::size_t size = 0;
  };

  void take_free() {
    free_.acquire();
    if (given_up_) throw GivenUp();
    open_ = &batches_[filled_++ % kBatches];
    open_->size = 0;
  }
  void hand_over() {
    open_ = nullptr;
    full_.release();
  }

  std::vector<Batch> batches_ = std::vector<Batch>(kBatches);
  std::counting_semaphore<> free_{kBatches}, full_{0};
  Batch* open_ = nullptr;
  std::size_t filled_ = 0;
  std::atomic<bool> given_up_ = false;
  std::exception_ptr problem_;  // of the thread that fills, before the last batch
};

void read(const Store& store, Batches& batches) {
  try {
    std::exception_ptr problem;
    try {
      store.for_each_trial([&](const TrialResult& trial) { batches.fill(trial); });
    } catch (const std::exception&) {
      problem = std::current_exception();
    }
    batches.end(problem);
  } catch (const Batches::GivenUp&) {
  }
}

}  // namespace

void for_each_trial_ahead(const Store& store, const std::function<void(const TrialResult&)>& f) {
  Batches batches;
  std::jthread reader;
  try {
    reader = start_thread([&] { read(store, batches); });
  } catch (const NoThread&) {
    return store.for_each_trial(f);
  }
  try {
    batches.empty(f);
  } catch (...) {
    batches.give_up();  // the reader may wait
    throw;
  }
}

}  // namespace bitfall
