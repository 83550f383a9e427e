#include "env/thread_executor.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace tallystick {
namespace {

constexpr int kLowNice = 10;  // a tenth of the weight of nice 0

}  // namespace

Executor::TaskId ThreadExecutor::Add(std::string_view name, Priority priority,
                                     std::function<StepResult()> step) {
  auto task = std::make_shared<Task>();
  task->step = std::move(step);
  task->priority = priority;
  TaskId id;
  {
    MutexLock lock(mutex_);
    id = next_id_++;
    tasks_[id] = task;
  }
  task->thread = std::thread([this, task] { Run(*task); });
  const std::string short_name(name.substr(0, 15));  // what the kernel keeps
  pthread_setname_np(task->thread.native_handle(), short_name.c_str());
  return id;
}

// On Linux a nice value is a thread's own.
void ThreadExecutor::Lower(Task& task) {
  MutexLock lock(task.mutex);
  task.thread_id = gettid();
  task.normal_nice = getpriority(PRIO_PROCESS, 0);
  // Where it is refused the task runs at normal priority: slower for others, not wrong.
  setpriority(PRIO_PROCESS, 0, task.normal_nice + kLowNice);
}

void ThreadExecutor::Run(Task& task) {
  if (task.priority == Priority::kLow) Lower(task);
  while (true) {
    {
      MutexLock lock(task.mutex);
      if (task.removed) return;
      task.woken = false;
    }
    const StepResult result = task.step();
    if (result.kind == StepResult::Kind::kDone) {
      MutexLock lock(task.mutex);
      task.thread_id = 0;  // another thread's from now on
      return;
    }
    if (result.kind == StepResult::Kind::kAgain) continue;
    MutexLock lock(task.mutex);
    while (!task.woken && !task.removed) {
      if (result.at_micros <= 0) {
        task.changed.Wait(task.mutex);
        continue;
      }
      const int64_t left = result.at_micros - clock_.MonotonicMicros();
      if (left <= 0) break;
      task.changed.WaitFor(task.mutex, left);
    }
  }
}

std::shared_ptr<ThreadExecutor::Task> ThreadExecutor::Find(TaskId id) {
  MutexLock lock(mutex_);
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? nullptr : found->second;
}

void ThreadExecutor::Wake(TaskId id) {
  const auto task = Find(id);
  if (task == nullptr) return;
  MutexLock lock(task->mutex);
  task->woken = true;
  task->changed.NotifyOne();
}

void ThreadExecutor::Remove(TaskId id) {
  const auto task = Find(id);
  if (task == nullptr) return;
  {
    MutexLock lock(task->mutex);
    task->removed = true;
    task->changed.NotifyOne();
    // A step of a low task may be at work, slow beside busy threads: nobody is served by waiting
    // for it. Without CAP_SYS_NICE or an RLIMIT_NICE of 20 this is refused, and it is waited for.
    if (task->thread_id != 0) {
      setpriority(PRIO_PROCESS, static_cast<id_t>(task->thread_id), task->normal_nice);
    }
  }
  task->thread.join();
  MutexLock lock(mutex_);
  tasks_.erase(id);
}

}  // namespace tallystick
