#include "testing/sim_env.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace tallystick {

uint64_t SeededRandom::Next64() {  // splitmix64
  uint64_t x = state_ += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Executor::TaskId SimExecutor::Add(std::string_view name, Priority,
                                  std::function<StepResult()> step) {
  const TaskId id = next_id_++;
  tasks_[id] = {std::string(name), std::move(step)};
  return id;
}

void SimExecutor::Wake(TaskId task) {
  const auto found = tasks_.find(task);
  if (found != tasks_.end()) found->second.runnable = true;
}

void SimExecutor::Remove(TaskId task) { tasks_.erase(task); }

bool SimExecutor::RunOne(int64_t patience_micros) {
  const int64_t now = clock_.MonotonicMicros();
  std::vector<TaskId> ready;
  int64_t earliest = INT64_MAX;
  for (auto& [id, task] : tasks_) {
    if (paused_.contains(task.name)) continue;
    if (task.runnable || (task.at_micros > 0 && task.at_micros <= now)) {
      ready.push_back(id);
    } else if (task.at_micros > 0) {
      earliest = std::min(earliest, task.at_micros);
    }
  }
  if (ready.empty()) {
    if (earliest == INT64_MAX || earliest - now > patience_micros) return false;
    clock_.Advance(earliest - now);
    return RunOne(patience_micros);
  }
  const TaskId id = ready[random_.Below(ready.size())];
  tasks_[id].runnable = false;
  tasks_[id].at_micros = 0;
  // The step may wake any task, itself too, and add tasks. Moved and not copied: it may have state
  // of its own.
  std::function<StepResult()> step = std::move(tasks_[id].step);
  const StepResult result = step();
  ++steps_;
  const auto task = tasks_.find(id);
  if (task == tasks_.end()) return true;
  task->second.step = std::move(step);
  switch (result.kind) {
    case StepResult::Kind::kAgain:
      task->second.runnable = true;
      break;
    case StepResult::Kind::kWait:
      task->second.at_micros = result.at_micros;
      break;
    case StepResult::Kind::kDone:
      tasks_.erase(task);
      break;
  }
  return true;
}

void SimExecutor::RunUntilIdle(uint64_t steps_max) {
  for (uint64_t i = 0; i < steps_max; ++i) {
    if (!RunOne()) return;
  }
  TALLY_CHECK(false);  // a step that never rests
}

bool SimExecutor::RunUntil(const std::function<bool()>& holds, uint64_t steps_max) {
  for (uint64_t i = 0; i < steps_max; ++i) {
    if (holds()) return true;
    if (!RunOne()) return holds();
  }
  TALLY_CHECK(false);
}

}  // namespace tallystick
