/* Stands in for the GPU driver's library: device memory is memory, and a stream is done at once. */
#include <stdlib.h>
#include <string.h>
typedef unsigned long long u64;
static u64 ticks;
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *device, int number) { *device = 0; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
  const char *told = getenv("STAND_IN_GPU_NAME");
  strncpy(name, told ? told : "Stand-in GPU", size);
  return 0;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
  const char *told = getenv("STAND_IN_GPU_MAJOR");
  *value = which == 75 ? (told ? atoi(told) : 9) : 0;
  return 0;
}
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &ticks; return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuGetErrorString(int status, const char **text) { *text = "out of memory"; return 0; }
int cuMemAlloc_v2(void **pointer, size_t size) {
  if (size > (1ull << 40)) return 2;
  *pointer = malloc(size);
  return 0;
}
int cuMemFree_v2(void *pointer) { free(pointer); return 0; }
int cuMemGetInfo_v2(size_t *left, size_t *all) { *left = 1ull << 39; *all = 1ull << 40; return 0; }
int cuMemHostAlloc(void **pointer, size_t size, unsigned flags) { return cuMemAlloc_v2(pointer, size); }
int cuMemFreeHost(void *pointer) { free(pointer); return 0; }
int cuMemsetD8Async(void *to, unsigned char value, size_t size, void *stream) { memset(to, value, size); return 0; }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *stream) { memcpy(to, from, size); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *stream) { memcpy(to, from, size); return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = malloc(1); return 0; }
int cuStreamDestroy_v2(void *stream) { free(stream); return 0; }
int cuStreamSynchronize(void *stream) { return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = malloc(sizeof(u64)); return 0; }
int cuEventDestroy_v2(void *event) { free(event); return 0; }
int cuEventRecord(void *event, void *stream) { *(u64 *)event = ++ticks; return 0; }
int cuEventRecordWithFlags(void *event, void *stream, unsigned flags) { return cuEventRecord(event, stream); }
int cuEventSynchronize(void *event) { return 0; }
int cuEventElapsedTime(float *ms, void *start, void *end) { *ms = *(u64 *)end - *(u64 *)start; return 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) { return 0; }
int cuStreamEndCapture(void *stream, void **graph) { *graph = malloc(1); return 0; }
int cuGraphInstantiateWithFlags(void **ready, void *graph, u64 flags) { *ready = malloc(1); return 0; }
int cuGraphDestroy(void *graph) { free(graph); return 0; }
int cuGraphLaunch(void *ready, void *stream) { return 0; }
int cuGraphExecDestroy(void *ready) { free(ready); return 0; }
