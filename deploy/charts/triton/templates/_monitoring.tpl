{{/* What rules, alerts and scalers share: how a release's series are found, and numbers as PromQL writes them. */}}

{{/* Every series of this release. PodMonitor and ServiceMonitor put both labels on what they scrape. */}}
{{- define "triton.monitoring.selector" -}}
namespace="{{ .Release.Namespace }}",release="{{ .Release.Name }}"
{{- end }}

{{/* Names as an alternation inside a double-quoted PromQL string. */}}
{{- define "triton.monitoring.anyOf" -}}
{{- $quoted := list -}}
{{- range . }}{{ $quoted = append $quoted (regexQuoteMeta .) }}{{ end -}}
{{- join "|" $quoted | replace "\\" "\\\\" -}}
{{- end }}

{{/* A duration of the schema's, as in 15s, in milliseconds. */}}
{{- define "triton.monitoring.milliseconds" -}}
{{- mulf (regexFind "^[0-9]+" . | float64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .)) -}}
{{- end }}

{{/* A number without the exponent that YAML's floats would get below a million. */}}
{{- define "triton.monitoring.number" -}}
{{- printf "%.6g" (float64 .) -}}
{{- end }}

{{/* A share as people read it: 0.001 is 0.1 %. */}}
{{- define "triton.monitoring.percent" -}}
{{- printf "%.4g %%" (mulf (float64 .) 100.0) -}}
{{- end }}

{{/* The models whose queues count, of one pipeline: those that are named, else all. */}}
{{- define "triton.monitoring.queueModels" -}}
{{- include "triton.monitoring.anyOf" (.queueModels | default .models) -}}
{{- end }}

{{/* The same of all pipelines: what autoscaling reads. */}}
{{- define "triton.monitoring.allQueueModels" -}}
{{- $models := list -}}
{{- range .Values.pipelines }}{{ $models = concat $models (.queueModels | default .models) }}{{ end -}}
{{- include "triton.monitoring.anyOf" (uniq $models) -}}
{{- end }}

{{/* "true" where the server has a latency histogram for ordinary models, and it is on. */}}
{{- define "triton.monitoring.histograms" -}}
{{- if and .Values.server.histogramLatencies (ge (int (include "triton.release" .)) 2601) }}true{{ end -}}
{{- end }}

{{/*
The histogram's bound at a pipeline's p99. Triton counts whole milliseconds, rounded down, so the bound of 12.5 is 12.
Prometheus 3 stores 20 as 20.0.
*/}}
{{- define "triton.monitoring.bound" -}}
{{- $wanted := float64 .objective.p99Ms -}}
{{- $found := "" -}}
{{- range .latencyBucketsMs }}
  {{- if or (eq (float64 .) $wanted) (and (not $found) (eq (float64 .) (floor $wanted))) }}
    {{- $found = include "triton.monitoring.number" . }}
  {{- end }}
{{- end }}
{{- if contains "." $found }}{{ $found | replace "." "\\\\." }}{{ else if $found }}{{ $found }}(\\.0)?{{ end }}
{{- end }}

{{/* How long a pod may take until it is ready, and a minute: in seconds. */}}
{{- define "triton.monitoring.startSeconds" -}}
{{- add 60 (mul .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold) -}}
{{- end }}

{{/* The pods of the workload, as kube-state-metrics names them, and not those of the engine Jobs: generated names have no vowels. */}}
{{- define "triton.monitoring.pods" -}}
{{- $name := include "triton.fullname" . -}}
{{- if eq .Values.workload.kind "StatefulSet" -}}
{{ $name }}-[0-9]+
{{- else -}}
{{ $name }}-[bcdfghjklmnpqrstvwxz2456789]+-[bcdfghjklmnpqrstvwxz2456789]{5}
{{- end }}
{{- end }}

{{/* Values of monitoring that cannot be; a line each, for triton.checks. */}}
{{- define "triton.check.monitoring" -}}
{{- $metrics := .Values.metrics }}
{{- $names := list }}
{{- range .Values.pipelines }}
{{- if has .name $names }}
pipelines has {{ .name }} twice: each pipeline needs a name of its own
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- if and $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled }}
metrics.podMonitor and metrics.serviceMonitor are both enabled: every pod would be scraped twice, and every request counted twice; leave one of them off
{{- end }}
{{- if and $metrics.serviceMonitor.enabled (not .Values.service.metrics.enabled) }}
metrics.serviceMonitor scrapes what stands behind the Service of the metrics, which is off: set service.metrics.enabled to true, or take metrics.podMonitor
{{- end }}
{{- if or $metrics.prometheusRule.enabled .Values.autoscaling.keda.enabled }}
{{- range $what, $monitor := dict "metrics.podMonitor" $metrics.podMonitor "metrics.serviceMonitor" $metrics.serviceMonitor }}
{{- if and $monitor.enabled (gt (include "triton.monitoring.milliseconds" $monitor.interval | float64) 15000.0) }}
{{ $what }}.interval is {{ $monitor.interval }}, and what watches the queues reads them over 1m: a range without 4 scrapes is taken for an empty one sooner or later, and alerts and KEDA do not see it; make it 15s or less
{{- end }}
{{- end }}
{{- end }}
{{- if and $metrics.dashboards.enabled (not $metrics.prometheusRule.enabled) }}
metrics.dashboards draws what the rules record, and they are off: set metrics.prometheusRule.enabled to true
{{- end }}
{{- range $what, $on := dict "metrics.prometheusRule" $metrics.prometheusRule "autoscaling.hpa" .Values.autoscaling.hpa "autoscaling.keda" .Values.autoscaling.keda }}
{{- if and $on.enabled (not $.Values.pipelines) }}
{{ $what }} is enabled, and there are no pipelines whose queues and objectives it could watch: list them under pipelines (tritonkit deploy values writes them)
{{- end }}
{{- end }}
{{- if and $metrics.prometheusRule.enabled (include "triton.monitoring.histograms" .) }}
{{- range .Values.pipelines }}
{{- if and .latencyBucketsMs (not (include "triton.monitoring.bound" .)) }}
latencyBucketsMs of pipeline {{ .name }} ({{ join ", " .latencyBucketsMs }}) have no bound at its objective's p99Ms {{ .objective.p99Ms }}, so nothing could count the slower requests: add it to them and to the model's configuration, or leave the list empty
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Scrapes carry the release's name; pod and namespace come by themselves. */}}
{{- define "triton.monitoring.relabelings" -}}
- targetLabel: release
  replacement: {{ .Release.Name | quote }}
{{- end }}

{{/* Requests that wait in each pod, a minute's mean: one scrape alone sees a batch more or less. */}}
{{- define "triton.monitoring.queueDepth" -}}
avg_over_time(nv_inference_pending_request_count{ {{- include "triton.monitoring.selector" . }},model=~"{{ include "triton.monitoring.allQueueModels" . }}"}[1m])
{{- end }}

{{/* Up at once and by much, down late and by little: a new pod has to load its models before it helps. */}}
{{- define "triton.monitoring.behavior" -}}
{{- $up := .Values.autoscaling.scaleUp }}
{{- $down := .Values.autoscaling.scaleDown -}}
scaleUp:
  stabilizationWindowSeconds: {{ $up.stabilizationSeconds }}
  selectPolicy: Max
  policies:
    - {type: Percent, value: {{ $up.percent }}, periodSeconds: {{ $up.periodSeconds }}}
    - {type: Pods, value: {{ $up.pods }}, periodSeconds: {{ $up.periodSeconds }}}
scaleDown:
  stabilizationWindowSeconds: {{ $down.stabilizationSeconds }}
  policies:
    - {type: Percent, value: {{ $down.percent }}, periodSeconds: {{ $down.periodSeconds }}}
{{- end }}
