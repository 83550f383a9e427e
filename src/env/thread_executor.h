// Executor of the real machine: a thread a task.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "env/env.h"

namespace tallystick {

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(Clock& clock) : clock_(clock) {}

  TaskId Add(std::string_view name, Priority priority, std::function<StepResult()> step) override;
  void Wake(TaskId id) override;
  void Remove(TaskId id) override;

 private:
  struct Task {
    std::function<StepResult()> step;
    Priority priority = Priority::kNormal;
    std::thread thread;
    Mutex mutex;
    CondVar changed;
    bool woken GUARDED_BY(mutex) = false;
    bool removed GUARDED_BY(mutex) = false;
    pid_t thread_id GUARDED_BY(mutex) = 0;  // once it runs at low priority
    int normal_nice GUARDED_BY(mutex) = 0;
  };

  void Run(Task& task);
  static void Lower(Task& task);  // by the task's thread
  std::shared_ptr<Task> Find(TaskId id);

  Clock& clock_;
  Mutex mutex_;
  TaskId next_id_ GUARDED_BY(mutex_) = 1;
  std::map<TaskId, std::shared_ptr<Task>> tasks_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
