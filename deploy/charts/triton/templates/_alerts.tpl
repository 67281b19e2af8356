{{/* Alerts on what was promised: errors, latency, throughput. */}}

{{/* (dict "root" $ "alert" NAME "severity" S "pipeline" NAME or "" "summary" TEXT "description" TEXT): labels and annotations. */}}
{{- define "triton.alerts.words" -}}
labels:
  severity: {{ .severity }}
  namespace: {{ .root.Release.Namespace | quote }}
  release: {{ .root.Release.Name | quote }}
  {{- with .pipeline }}
  pipeline: {{ . | quote }}
  {{- end }}
  {{- with .window }}
  window: {{ . }}
  {{- end }}
annotations:
  summary: {{ .summary | quote }}
  description: {{ .description | quote }}
  runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" .root.Values.metrics.prometheusRule.runbookUrl) .alert | quote }}
{{- end }}

{{/* A threshold for a burn rate: never so high that it could not be reached. (list FACTOR BUDGET) */}}
{{- define "triton.alerts.threshold" -}}
{{- $budget := float64 (index . 1) -}}
{{- include "triton.monitoring.number" (minf (mulf (index . 0) $budget) (divf (addf 1.0 $budget) 2.0)) -}}
{{- end }}

{{- define "triton.alerts.atMost" -}}
{{- if float64 . }}At most {{ include "triton.monitoring.percent" . }}{{ else }}None{{ end -}}
{{- end }}

{{/* How soon the allowance of 30 days is used up when a share as high as the threshold is bad. (list THRESHOLD BUDGET) */}}
{{- define "triton.alerts.gone" -}}
{{- $budget := float64 (index . 1) -}}
{{- if $budget }}: at this pace what is allowed in 30 days is gone within {{ divf (mulf 30.0 $budget) (float64 (index . 0)) | printf "%.2g" }} days{{ end -}}
{{- end }}

{{/* (dict "root" $ "pipeline" PIPELINE) */}}
{{- define "triton.alerts.objective" -}}
{{- $root := .root -}}
{{- $p := .pipeline -}}
{{- $selector := include "triton.monitoring.selector" $root -}}
{{- $own := printf "%s,pipeline=%q" $selector $p.name -}}
{{- $windows := include "triton.rules.windows" $root | fromYaml -}}
{{- $timed := include "triton.rules.timed" . -}}
{{- $p99 := include "triton.monitoring.number" $p.objective.p99Ms -}}
{{- range $pair := $windows.pairs }}
{{- $budget := float64 $p.objective.maxErrorRate }}
{{- $threshold := include "triton.alerts.threshold" (list $pair.factor $budget) }}
- alert: TritonErrorBudgetBurn
  expr: |-
    triton:failed_requests:ratio_rate{{ $pair.long }}{ {{- $own }}} > {{ $threshold }}
      and triton:failed_requests:ratio_rate{{ $pair.short }}{ {{- $own }}} > {{ $threshold }}
      and triton:failed_requests:rate{{ $pair.long }}{ {{- $own }}} * {{ $pair.seconds }} >= {{ $windows.leastBadRequests }}
  for: {{ $pair.for }}
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonErrorBudgetBurn" "pipeline" $p.name "severity" $pair.severity "window" $pair.long
    "summary" (printf "%s fails for too many requests" $p.name)
    "description" (printf "{{ $value | humanizePercentage }} of the requests to %s failed in the last %s, more than %s, and so it is in the last %s. %s may fail%s."
      $p.name $pair.long (include "triton.monitoring.percent" $threshold) $pair.short (include "triton.alerts.atMost" $budget) (include "triton.alerts.gone" (list $threshold $budget)))) | nindent 2 }}
{{- if $timed }}
{{- $slow := include "triton.alerts.threshold" (list $pair.factor $windows.latencyBudget) }}
- alert: TritonLatencyBudgetBurn
  expr: |-
    triton:slow_requests:ratio_rate{{ $pair.long }}{ {{- $own }}} > {{ $slow }}
      and triton:slow_requests:ratio_rate{{ $pair.short }}{ {{- $own }}} > {{ $slow }}
      and triton:slow_requests:ratio_rate{{ $pair.long }}{ {{- $own }}} * triton:requests:rate{{ $pair.long }}{ {{- $own }}} * {{ $pair.seconds }} >= {{ $windows.leastBadRequests }}
  for: {{ $pair.for }}
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonLatencyBudgetBurn" "pipeline" $p.name "severity" $pair.severity "window" $pair.long
    "summary" (printf "%s is slower than %s ms for too many requests" $p.name $p99)
    "description" (printf "{{ $value | humanizePercentage }} of the requests to %s took longer than %s ms in the last %s, more than %s, and so it is in the last %s. %s may%s."
      $p.name $p99 $pair.long (include "triton.monitoring.percent" $slow) $pair.short (include "triton.alerts.atMost" $windows.latencyBudget) (include "triton.alerts.gone" (list $slow $windows.latencyBudget)))) | nindent 2 }}
{{- end }}
{{- end }}
{{- if $timed }}
- alert: TritonLatencyUnwatched
  expr: |-
    sum by (namespace, release, pod) (rate(nv_inference_request_success{ {{- $selector }},model={{ $p.name | quote }}}[5m])) > 0
      unless on (namespace, release, pod) nv_inference_first_response_histogram_ms_bucket{ {{- $selector }},model={{ $p.name | quote }},le=~"{{ include "triton.monitoring.bound" $p }}"}
  for: 10m
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonLatencyUnwatched" "pipeline" $p.name "severity" "warning"
    "summary" (printf "Nobody sees whether %s meets its p99" $p.name)
    "description" (printf "Pod {{ $labels.pod }} has answered requests to %s for 10 minutes, and its latency histogram has no bound at %s ms: TritonLatencyBudgetBurn does not see this pod, however slow it is." $p.name $p99)) | nindent 2 }}
{{- else }}
- alert: TritonMeanLatencyHigh
  expr: |-
    triton:request_duration_ms:mean30m{ {{- $own }}} > {{ $p99 }}
      and triton:request_duration_ms:mean5m{ {{- $own }}} > {{ $p99 }}
      and triton:answered_requests:rate30m{ {{- $own }}} * 1800 >= {{ $windows.leastRequests }}
  for: 2m
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonMeanLatencyHigh" "pipeline" $p.name "severity" "critical"
    "summary" (printf "%s takes longer than %s ms on average" $p.name $p99)
    "description" (printf "The mean of the answered requests to %s is {{ $value | printf \"%%.3g\" }} ms over 30 minutes, more than the %s ms that 99 of 100 should keep, and so it is over 5 minutes. This is a mean and no percentile: Triton %s has no latency histogram for this pipeline here, so an objective that is missed while the mean stays below %s ms is not seen at all. With release 26.01 or later, server.histogramLatencies and latencyBucketsMs, the share of slow requests is watched instead."
      $p.name $p99 $root.Values.image.release $p99)) | nindent 2 }}
{{- end }}
{{- $depth := include "triton.monitoring.number" $root.Values.autoscaling.queueDepthPerPod }}
{{- $deep := include "triton.monitoring.number" (mulf 2.0 (float64 $root.Values.autoscaling.queueDepthPerPod)) }}
- alert: TritonQueueNotDraining
  expr: triton:queue_depth_per_pod:avg{ {{- $own }}} > {{ $deep }}
  for: {{ $root.Values.alerts.queueGrowthMinutes }}m
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonQueueNotDraining" "pipeline" $p.name "severity" "warning"
    "summary" (printf "Requests to %s queue up" $p.name)
    "description" (printf "{{ $value | printf \"%%.3g\" }} requests to %s wait in each pod. For %v minutes it has never been fewer than %s, twice the %s at which the objective is met: more comes in than is answered."
      $p.name $root.Values.alerts.queueGrowthMinutes $deep $depth)) | nindent 2 }}
{{- with $p.objective.throughputRps }}
{{- $promised := include "triton.monitoring.number" . }}
- alert: TritonThroughputBelowPromise
  expr: |-
    triton:answered_requests:rate5m{ {{- $own }}} < {{ $promised }}
      and triton:queue_depth_per_pod:avg{ {{- $own }}} > {{ $depth }}
  for: 10m
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonThroughputBelowPromise" "pipeline" $p.name "severity" "warning"
    "summary" (printf "%s answers fewer than %s requests a second while others wait" $p.name $promised)
    "description" (printf "%s answers {{ $value | printf \"%%.3g\" }} requests a second, fewer than the %s it should hold, while more than %s wait in each pod: it is not for want of requests."
      $p.name $promised $depth)) | nindent 2 }}
{{- end }}
{{- end }}
