/* Writes down every memory copy on a GPU, every wait of the host for one, and what is allocated for a GPU, of each
   process that loads it.

   The CUDA driver loads it into a process at cuInit and calls InitializeInjection. Environment:
     CUDA_INJECTION64_PATH   this library
     COPY_TRACE_CUPTI        the libcupti.so.N to use
     COPY_TRACE_FOLDER       each process writes PID.trace here; without it nothing is done

   Lines of a file (copy_trace_reader.py reads them):
     process PID COMMAND LINE
     ready CUPTI_VERSION
     copy KIND FROM TO ASYNC BYTES START_NS END_NS STREAM GRAPH_NODE
     wait TYPE STATUS START_NS END_NS STREAM
     calls QUERIES EVENTS STREAMS CONTEXTS   (since the start: cuEventQuery that found its event passed, and the
                                              cuEventSynchronize, cuStreamSynchronize, cuCtxSynchronize that returned)
     alloc WHERE ADDRESS BYTES               (device, async, physical; pinned, registered on the host; managed; what
                                              the runtime takes may come twice, from it and from the driver)
     free ADDRESS                            (written before the memory is free: its address may come again at once)
     asked NUMBER
     error WHAT
   KIND, FROM, TO, TYPE are CUPTI's numbers. When the file `ask` of the folder holds a new number, the process hands
   over all that it has, and then writes `asked` with that number: what was done before is in front of it. Copies of
   a recorded CUDA graph come one by one (CUPTI would only join them if GRAPH_TRACE were enabled).

     gcc -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -I CUPTI/include -I CUDA/include \
         -o libcopy_trace.so copy_trace.c -ldl -lpthread
*/
#include <cupti.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 18, ALIGNMENT = 8, LOOK_MS = 10, FLUSH_MS = 250, YOUNG_MS = 2000 };

/* Looked up and not linked: which libcupti is used is decided when the process starts. */
static struct {
  __typeof__(&cuptiActivityRegisterCallbacks) activity_register;
  __typeof__(&cuptiActivityEnable) activity_enable;
  __typeof__(&cuptiActivityEnableAllSyncRecords) all_waits;
  __typeof__(&cuptiActivityGetNextRecord) next_record;
  __typeof__(&cuptiActivityGetNumDroppedRecords) dropped;
  __typeof__(&cuptiActivityFlushAll) flush;
  __typeof__(&cuptiSubscribe) subscribe;
  __typeof__(&cuptiEnableCallback) enable_callback;
  __typeof__(&cuptiGetResultString) result_string;
  __typeof__(&cuptiGetVersion) version;
} cupti;

static char asked_file[4096];
static FILE *trace;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t flushing = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool has_recorded;
static atomic_ulong queries, events, streams, contexts;
static struct timespec start;

static void put(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  pthread_mutex_lock(&writing);
  vfprintf(trace, format, arguments);
  fflush(trace);
  pthread_mutex_unlock(&writing);
  va_end(arguments);
}

/* Whether a call of CUPTI went well; what did not is in the file. */
static bool good(CUptiResult status, const char *what) {
  const char *text = "unknown";
  if (status == CUPTI_SUCCESS) return true;
  cupti.result_string(status, &text);
  put("error %s: %s\n", what, text);
  return false;
}

static void CUPTIAPI requested(uint8_t **buffer, size_t *size, size_t *most_records) {
  void *found = NULL;
  atomic_store(&has_recorded, true);
  *size = posix_memalign(&found, ALIGNMENT, BUFFER_BYTES) ? 0 : BUFFER_BYTES;
  *buffer = found;
  *most_records = 0;
}

static void write_copy(const CUpti_ActivityMemcpy6 *copy) {
  fprintf(trace, "copy %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %" PRIu64 "\n", copy->copyKind,
          copy->srcKind, copy->dstKind, (copy->flags & CUPTI_ACTIVITY_FLAG_MEMCPY_ASYNC) != 0, copy->bytes,
          copy->start, copy->end, copy->streamId, copy->graphNodeId);
}

static void write_peer_copy(const CUpti_ActivityMemcpyPtoP4 *copy) {
  fprintf(trace, "copy %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %" PRIu64 "\n", copy->copyKind,
          copy->srcKind, copy->dstKind, (copy->flags & CUPTI_ACTIVITY_FLAG_MEMCPY_ASYNC) != 0, copy->bytes,
          copy->start, copy->end, copy->streamId, copy->graphNodeId);
}

static void write_wait(const CUpti_ActivitySynchronization2 *wait) {
  if (wait->returnValue == CUDA_ERROR_NOT_READY) return; /* it only asked, and the GPU was still at work */
  fprintf(trace, "wait %u %u %" PRIu64 " %" PRIu64 " %u\n", (unsigned)wait->type, wait->returnValue, wait->start,
          wait->end, wait->streamId);
}

static void CUPTIAPI completed(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  CUpti_Activity *record = NULL;
  size_t dropped = 0;
  (void)size;
  pthread_mutex_lock(&writing);
  while (valid && cupti.next_record(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) write_copy((const CUpti_ActivityMemcpy6 *)record);
    if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY2) write_peer_copy((const CUpti_ActivityMemcpyPtoP4 *)record);
    if (record->kind == CUPTI_ACTIVITY_KIND_SYNCHRONIZATION)
      write_wait((const CUpti_ActivitySynchronization2 *)record);
  }
  fflush(trace);
  pthread_mutex_unlock(&writing);
  if (cupti.dropped(context, stream, &dropped) == CUPTI_SUCCESS && dropped)
    put("error %zu records were dropped\n", dropped);
  free(buffer);
}

static void got(const char *where, const void *address, size_t size) {
  put("alloc %s %" PRIuPTR " %zu\n", where, (uintptr_t)address, size);
}

/* What calls that allocate have given; all that is asked here has gone well. */
static void allocated(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *given) {
#define OF(NAME) const NAME##_params *found = given
#define GIVES(KIND, NAME, WHERE, ADDRESS, SIZE)           \
  case CUPTI_##KIND##_TRACE_CBID_##NAME: {                \
    OF(NAME);                                             \
    got(WHERE, (const void *)(uintptr_t)(ADDRESS), SIZE); \
    return;                                               \
  }
  if (domain == CUPTI_CB_DOMAIN_RUNTIME_API) switch (id) {
      GIVES(RUNTIME, cudaMalloc_v3020, "device", *found->devPtr, found->size)
      GIVES(RUNTIME, cudaMallocAsync_v11020, "async", *found->devPtr, found->size)
      GIVES(RUNTIME, cudaMallocAsync_ptsz_v11020, "async", *found->devPtr, found->size)
      GIVES(RUNTIME, cudaMallocHost_v3020, "pinned", *found->ptr, found->size)
      GIVES(RUNTIME, cudaHostAlloc_v3020, "pinned", *found->pHost, found->size)
      default:
        return;
    }
  switch (id) {
    GIVES(DRIVER, cuMemAlloc_v2, "device", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemAllocPitch_v2, "device", *found->dptr, *found->pPitch * found->Height)
    GIVES(DRIVER, cuMemAllocAsync, "async", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemAllocAsync_ptsz, "async", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemAllocFromPoolAsync, "async", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemAllocFromPoolAsync_ptsz, "async", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemCreate, "physical", *found->handle, found->size)
    GIVES(DRIVER, cuMemAllocManaged, "managed", *found->dptr, found->bytesize)
    GIVES(DRIVER, cuMemHostAlloc, "pinned", *found->pp, found->bytesize)
    GIVES(DRIVER, cuMemAllocHost_v2, "pinned", *found->pp, found->bytesize)
    GIVES(DRIVER, cuMemHostRegister_v2, "registered", found->p, found->bytesize)
  }
}

static void is_freed(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *given) {
#define TAKES(KIND, NAME, ADDRESS)                     \
  case CUPTI_##KIND##_TRACE_CBID_##NAME: {             \
    OF(NAME);                                          \
    put("free %" PRIuPTR "\n", (uintptr_t)(ADDRESS)); \
    return;                                            \
  }
  if (domain == CUPTI_CB_DOMAIN_RUNTIME_API) switch (id) {
      TAKES(RUNTIME, cudaFree_v3020, found->devPtr)
      TAKES(RUNTIME, cudaFreeAsync_v11020, found->devPtr)
      TAKES(RUNTIME, cudaFreeAsync_ptsz_v11020, found->devPtr)
      TAKES(RUNTIME, cudaFreeHost_v3020, found->ptr)
      default:
        return;
    }
  switch (id) {
    TAKES(DRIVER, cuMemFree_v2, found->dptr)
    TAKES(DRIVER, cuMemFreeAsync, found->dptr)
    TAKES(DRIVER, cuMemFreeAsync_ptsz, found->dptr)
    TAKES(DRIVER, cuMemRelease, found->handle)
    TAKES(DRIVER, cuMemFreeHost, found->p)
    TAKES(DRIVER, cuMemHostUnregister, found->p)
  }
}

static void CUPTIAPI called(void *nothing, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *given) {
  const CUpti_CallbackData *call = given;
  (void)nothing;
  if (call->callbackSite == CUPTI_API_ENTER) is_freed(domain, id, call->functionParams);
  if (call->callbackSite != CUPTI_API_EXIT || !call->functionReturnValue) return;
  if (*(const CUresult *)call->functionReturnValue != CUDA_SUCCESS) return;
  allocated(domain, id, call->functionParams);
  if (domain != CUPTI_CB_DOMAIN_DRIVER_API) return;
  if (id == CUPTI_DRIVER_TRACE_CBID_cuEventQuery) atomic_fetch_add(&queries, 1);
  if (id == CUPTI_DRIVER_TRACE_CBID_cuEventSynchronize) atomic_fetch_add(&events, 1);
  if (id == CUPTI_DRIVER_TRACE_CBID_cuCtxSynchronize) atomic_fetch_add(&contexts, 1);
  if (id == CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize || id == CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize_ptsz)
    atomic_fetch_add(&streams, 1);
}

static void hand_over(bool all) {
  pthread_mutex_lock(&flushing);
  good(cupti.flush(all ? CUPTI_ACTIVITY_FLAG_FLUSH_FORCED : 0), "flush");
  pthread_mutex_unlock(&flushing);
}

static long age_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
}

/* The number in the file `ask`, 0 where there is none. */
static unsigned long asked(void) {
  char text[32] = "";
  int file = open(asked_file, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  return size > 0 ? strtoul(text, NULL, 10) : 0;
}

static void *watch(void *nothing) {
  unsigned long last = 0;
  long flushed_ms = 0;
  for (;;) {
    usleep(LOOK_MS * 1000);
    /* cuInit may still be under way, and must not be disturbed; nothing has been recorded then. */
    long now_ms = age_ms();
    if (now_ms < YOUNG_MS) continue;
    bool has_any = atomic_load(&has_recorded);
    unsigned long number = asked();
    if (number != last) {
      if (has_any) hand_over(true);
      put("calls %lu %lu %lu %lu\nasked %lu\n", atomic_load(&queries), atomic_load(&events), atomic_load(&streams),
          atomic_load(&contexts), number);
      last = number;
    } else if (has_any && now_ms - flushed_ms >= FLUSH_MS) {
      hand_over(false); /* whoever is killed has told nearly everything */
      flushed_ms = now_ms;
    }
  }
  return nothing;
}

/* At the process's end: what is left, and then no flush any more, since CUPTI goes too. */
static void leave(void) {
  if (atomic_load(&has_recorded)) hand_over(true);
  pthread_mutex_lock(&flushing);
}

static bool load(void) {
  const char *path = getenv("COPY_TRACE_CUPTI");
  void *library = dlopen(path ? path : "libcupti.so.12", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    put("error %s\n", dlerror());
    return false;
  }
  struct {
    void *place;
    const char *name;
  } wanted[] = {
      {&cupti.activity_register, "cuptiActivityRegisterCallbacks"},
      {&cupti.activity_enable, "cuptiActivityEnable"},
      {&cupti.all_waits, "cuptiActivityEnableAllSyncRecords"},
      {&cupti.next_record, "cuptiActivityGetNextRecord"},
      {&cupti.dropped, "cuptiActivityGetNumDroppedRecords"},
      {&cupti.flush, "cuptiActivityFlushAll"},
      {&cupti.subscribe, "cuptiSubscribe"},
      {&cupti.enable_callback, "cuptiEnableCallback"},
      {&cupti.result_string, "cuptiGetResultString"},
      {&cupti.version, "cuptiGetVersion"},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *function = dlsym(library, wanted[i].name);
    if (!function) {
      put("error %s\n", dlerror());
      return false;
    }
    memcpy(wanted[i].place, &function, sizeof function);
  }
  return true;
}

static bool enable(void) {
  static const CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMCPY2,
                                             CUPTI_ACTIVITY_KIND_SYNCHRONIZATION};
  static const CUpti_CallbackId calls[] = {
      CUPTI_DRIVER_TRACE_CBID_cuEventQuery, CUPTI_DRIVER_TRACE_CBID_cuEventSynchronize,
      CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize, CUPTI_DRIVER_TRACE_CBID_cuStreamSynchronize_ptsz,
      CUPTI_DRIVER_TRACE_CBID_cuCtxSynchronize, CUPTI_DRIVER_TRACE_CBID_cuMemAlloc_v2,
      CUPTI_DRIVER_TRACE_CBID_cuMemAllocPitch_v2, CUPTI_DRIVER_TRACE_CBID_cuMemAllocAsync,
      CUPTI_DRIVER_TRACE_CBID_cuMemAllocAsync_ptsz, CUPTI_DRIVER_TRACE_CBID_cuMemAllocFromPoolAsync,
      CUPTI_DRIVER_TRACE_CBID_cuMemAllocFromPoolAsync_ptsz, CUPTI_DRIVER_TRACE_CBID_cuMemCreate,
      CUPTI_DRIVER_TRACE_CBID_cuMemAllocManaged, CUPTI_DRIVER_TRACE_CBID_cuMemHostAlloc,
      CUPTI_DRIVER_TRACE_CBID_cuMemAllocHost_v2, CUPTI_DRIVER_TRACE_CBID_cuMemHostRegister_v2,
      CUPTI_DRIVER_TRACE_CBID_cuMemFree_v2, CUPTI_DRIVER_TRACE_CBID_cuMemFreeAsync,
      CUPTI_DRIVER_TRACE_CBID_cuMemFreeAsync_ptsz, CUPTI_DRIVER_TRACE_CBID_cuMemRelease,
      CUPTI_DRIVER_TRACE_CBID_cuMemFreeHost, CUPTI_DRIVER_TRACE_CBID_cuMemHostUnregister};
  static const CUpti_CallbackId runtime_calls[] = {
      CUPTI_RUNTIME_TRACE_CBID_cudaMalloc_v3020, CUPTI_RUNTIME_TRACE_CBID_cudaMallocAsync_v11020,
      CUPTI_RUNTIME_TRACE_CBID_cudaMallocAsync_ptsz_v11020, CUPTI_RUNTIME_TRACE_CBID_cudaMallocHost_v3020,
      CUPTI_RUNTIME_TRACE_CBID_cudaHostAlloc_v3020, CUPTI_RUNTIME_TRACE_CBID_cudaFree_v3020,
      CUPTI_RUNTIME_TRACE_CBID_cudaFreeAsync_v11020, CUPTI_RUNTIME_TRACE_CBID_cudaFreeAsync_ptsz_v11020,
      CUPTI_RUNTIME_TRACE_CBID_cudaFreeHost_v3020};
  CUpti_SubscriberHandle subscriber;
  if (!good(cupti.subscribe(&subscriber, called, NULL), "cuptiSubscribe")) return false;
  if (!good(cupti.activity_register(requested, completed), "cuptiActivityRegisterCallbacks")) return false;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (!good(cupti.activity_enable(kinds[i]), "cuptiActivityEnable")) return false;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    if (!good(cupti.enable_callback(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API, calls[i]), "cuptiEnableCallback"))
      return false;
  for (size_t i = 0; i < sizeof runtime_calls / sizeof *runtime_calls; i++)
    if (!good(cupti.enable_callback(1, subscriber, CUPTI_CB_DOMAIN_RUNTIME_API, runtime_calls[i]),
              "cuptiEnableCallback"))
      return false;
  return good(cupti.all_waits(0), "cuptiActivityEnableAllSyncRecords");
}

static void write_process(void) {
  char command[4096];
  int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t size = file < 0 ? 0 : read(file, command, sizeof command - 1);
  if (file >= 0) close(file);
  size = size < 0 ? 0 : size;
  for (ssize_t i = 0; i < size; i++)
    if (command[i] == '\0' || command[i] == '\n') command[i] = ' ';
  command[size] = '\0';
  put("process %d %s\n", (int)getpid(), command);
}

/* A thread of ours takes no signal from the process's own. */
static bool start_watching(void) {
  sigset_t every, before;
  pthread_t thread;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  int status = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (status) {
    put("error no thread: %s\n", strerror(status));
    return false;
  }
  pthread_detach(thread);
  return true;
}

/* Always 1: a process runs on without a trace, and its file says why there is none. */
__attribute__((visibility("default"))) int InitializeInjection(void) {
  static atomic_flag begun = ATOMIC_FLAG_INIT;
  const char *folder = getenv("COPY_TRACE_FOLDER");
  char path[4096];
  uint32_t version = 0;
  if (!folder || !*folder || atomic_flag_test_and_set(&begun)) return 1;
  clock_gettime(CLOCK_MONOTONIC, &start);
  snprintf(asked_file, sizeof asked_file, "%s/ask", folder);
  snprintf(path, sizeof path, "%s/%d.trace", folder, (int)getpid());
  trace = fopen(path, "ae");
  if (!trace) {
    fprintf(stderr, "copy_trace: %s: %s\n", path, strerror(errno));
    return 1;
  }
  write_process();
  if (!load() || !enable()) return 1;
  cupti.version(&version);
  atexit(leave);
  if (start_watching()) put("ready %" PRIu32 "\n", version);
  return 1;
}
