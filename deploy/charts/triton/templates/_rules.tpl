{{/* Recorded series. All carry namespace and release; those of a pipeline carry pipeline as well. */}}

{{/*
Windows of burn rates, after chapter 5 of Google's Site Reliability Workbook: for 30 days of budget. A fast window sees
what has to be mended now, a slow one what would eat the budget unseen. Both of a pair have to be over the threshold:
the long one says that it matters, the short one that it still goes on.
*/}}
{{- define "triton.rules.windows" -}}
pairs:
  - {factor: 14.4, long: 1h, short: 5m, seconds: 3600, for: 2m, severity: critical}
  - {factor: 6, long: 6h, short: 30m, seconds: 21600, for: 15m, severity: critical}
  - {factor: 1, long: 3d, short: 6h, seconds: 259200, for: 1h, severity: warning}
all: [5m, 30m, 1h, 6h, 3d]
# Fewer bad requests than these in the long window are no alert, whatever their share.
leastBadRequests: 10
# Fewer requests than these in half an hour have no mean worth an alert.
leastRequests: 100
# p99: one request in a hundred may be slower.
latencyBudget: 0.01
{{- end }}

{{- define "triton.rules.release" -}}
{{- $selector := include "triton.monitoring.selector" . -}}
- record: triton:pods_up:sum
  expr: sum by (namespace, release) (up{ {{- $selector }}})
# 1 from the first answer on. It carries itself on, so that an outage of any length is told from a release that has never
# served; what it was is found again after a day without Prometheus.
- record: triton:has_served:bool
  expr: |-
    (triton:pods_up:sum{ {{- $selector }}} > bool 0) > 0
      or last_over_time(triton:has_served:bool{ {{- $selector }}}[1d])
# The number that autoscaling reads, of each pod.
- record: triton:queue_depth:sum
  expr: sum by (namespace, release, pod) ({{ include "triton.monitoring.queueDepth" . }})
{{- end }}

{{/* (dict "root" $ "pipeline" PIPELINE) */}}
{{- define "triton.rules.pipeline" -}}
{{- $root := .root -}}
{{- $p := .pipeline -}}
{{- $selector := include "triton.monitoring.selector" $root -}}
{{- $own := printf "%s,pipeline=%q" $selector $p.name -}}
{{- $labels := printf "{pipeline: %q}" $p.name -}}
{{- $model := printf "%s,model=%q" $selector $p.name -}}
{{- $windows := include "triton.rules.windows" $root | fromYaml -}}
{{- $where := printf "{namespace: %q, release: %q, pipeline: %q}" $root.Release.Namespace $root.Release.Name $p.name -}}
{{- /* An ensemble counts a request that failed twice, once when it answers and once when it ends. */ -}}
{{- $halved := has $p.name $p.models | ternary "" " / 2" -}}
{{- range $window := $windows.all }}
- record: triton:answered_requests:rate{{ $window }}
  labels: {{ $labels }}
  expr: sum by (namespace, release) (rate(nv_inference_request_success{ {{- $model }}}[{{ $window }}]))
- record: triton:failed_requests:rate{{ $window }}
  labels: {{ $labels }}
  expr: sum by (namespace, release) (rate(nv_inference_request_failure{ {{- $model }}}[{{ $window }}])){{ $halved }}
- record: triton:requests:rate{{ $window }}
  labels: {{ $labels }}
  expr: triton:answered_requests:rate{{ $window }}{ {{- $own }}} + triton:failed_requests:rate{{ $window }}{ {{- $own }}}
- record: triton:failed_requests:ratio_rate{{ $window }}
  labels: {{ $labels }}
  expr: triton:failed_requests:rate{{ $window }}{ {{- $own }}} / (triton:requests:rate{{ $window }}{ {{- $own }}} > 0)
{{- end }}
{{- if include "triton.rules.timed" . }}
{{- /* Of a pod whose histogram lacks the bound nothing is counted: TritonLatencyUnwatched names it. */ -}}
{{- range $window := $windows.all }}
- record: triton:slow_requests:ratio_rate{{ $window }}
  labels: {{ $labels }}
  expr: |-
    1 - sum by (namespace, release) (rate(nv_inference_first_response_histogram_ms_bucket{ {{- $model }},le=~"{{ include "triton.monitoring.bound" $p }}"}[{{ $window }}]))
      / (sum by (namespace, release) (rate(nv_inference_first_response_histogram_ms_count{ {{- $model }}}[{{ $window }}])
          and on (namespace, release, pod) rate(nv_inference_first_response_histogram_ms_bucket{ {{- $model }},le=~"{{ include "triton.monitoring.bound" $p }}"}[{{ $window }}])) > 0)
{{- end }}
{{- end }}
{{- range $window := list "5m" "30m" }}
- record: triton:request_duration_ms:mean{{ $window }}
  labels: {{ $labels }}
  expr: |-
    sum by (namespace, release) (rate(nv_inference_request_duration_us{ {{- $model }}}[{{ $window }}])) / 1000
      / on (namespace, release) (triton:answered_requests:rate{{ $window }}{ {{- $own }}} > 0)
{{- end }}
- record: triton:queue_depth_per_pod:avg
  labels: {{ $labels }}
  expr: |-
    sum by (namespace, release) (nv_inference_pending_request_count{ {{- $selector }},model=~"{{ include "triton.monitoring.queueModels" $p }}"})
      / count by (namespace, release) (count by (namespace, release, pod) (nv_inference_pending_request_count{ {{- $selector }}}))
# What was promised, as series: a dashboard draws them as lines.
- record: triton:objective_p99_ms:constant
  labels: {{ $where }}
  expr: vector({{ include "triton.monitoring.number" $p.objective.p99Ms }})
- record: triton:objective_failed_requests:constant
  labels: {{ $where }}
  expr: vector({{ include "triton.monitoring.number" $p.objective.maxErrorRate }})
{{- if $p.objective.throughputRps }}
- record: triton:objective_throughput_rps:constant
  labels: {{ $where }}
  expr: vector({{ include "triton.monitoring.number" $p.objective.throughputRps }})
{{- end }}
# Which models a pipeline is made of.
{{- range $p.models }}
- record: triton:pipeline_model:info
  labels: {namespace: {{ $root.Release.Namespace | quote }}, release: {{ $root.Release.Name | quote }}, pipeline: {{ $p.name | quote }}, model: {{ . | quote }}}
  expr: vector(1)
{{- end }}
{{- end }}

{{/* "true" where the share of slow requests of this pipeline can be counted. */}}
{{- define "triton.rules.timed" -}}
{{- if and (include "triton.monitoring.histograms" .root) .pipeline.latencyBucketsMs }}true{{ end -}}
{{- end }}
