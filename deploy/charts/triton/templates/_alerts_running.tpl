{{/* Alerts on what runs: models, pods, GPUs, engines, the autoscaler, and the metrics themselves. */}}

{{/* Of each model of a pipeline. (dict "root" $ "pipeline" PIPELINE) */}}
{{- define "triton.alerts.models" -}}
{{- $root := .root -}}
{{- $p := .pipeline -}}
{{- $selector := include "triton.monitoring.selector" $root -}}
{{- $models := include "triton.monitoring.anyOf" $p.models -}}
{{- $stuckSeconds := maxf 300 (mulf 2 (default 0 $p.longestRequestSeconds)) | ceil | int }}
- alert: TritonModelStuck
  expr: |-
    sum by (namespace, release, pod, model) (nv_inference_pending_request_count{ {{- $selector }},model=~"{{ $models }}"}) > 0
      and sum by (namespace, release, pod, model) (rate(nv_inference_request_success{ {{- $selector }},model=~"{{ $models }}"}[2m])) == 0
      and sum by (namespace, release, pod, model) (rate(nv_inference_request_failure{ {{- $selector }},model=~"{{ $models }}"}[2m])) == 0
  for: {{ $stuckSeconds }}s
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonModelStuck" "pipeline" $p.name "severity" "critical"
    "summary" (printf "A model of %s answers nothing while requests wait" $p.name)
    "description" (printf "{{ $value }} requests wait for {{ $labels.model }} in pod {{ $labels.pod }}, and for %d s it has neither answered nor refused one. The longest request of %s should take %v s."
      $stuckSeconds $p.name (default "no more than 30" $p.longestRequestSeconds))) | nindent 2 }}
- alert: TritonModelMissing
  expr: |-
    {{- range $index, $model := $p.models }}
    {{ if $index }}or {{ end }}label_replace(sum by (namespace, release, pod) (up{ {{- $selector }}}) > 0 unless on (namespace, release, pod) nv_inference_request_success{ {{- $selector }},model={{ $model | quote }}}, "model", {{ $model | quote }}, "", "")
    {{- end }}
  for: 5m
  {{- include "triton.alerts.words" (dict "root" $root "alert" "TritonModelMissing" "pipeline" $p.name "severity" "critical"
    "summary" (printf "A pod serves without a model of %s" $p.name)
    "description" (printf "Pod {{ $labels.pod }} has answered scrapes for 5 minutes and has no {{ $labels.model }}, which %s is made of: it failed to load, or was unloaded." $p.name)) | nindent 2 }}
{{- end }}

{{/* Of the release as a whole. */}}
{{- define "triton.alerts.release" -}}
{{- $selector := include "triton.monitoring.selector" . -}}
{{- $name := include "triton.fullname" . -}}
{{- $namespace := printf "namespace=%q" .Release.Namespace -}}
{{- $start := include "triton.monitoring.startSeconds" . -}}
{{- $wanted := printf "kube_deployment_spec_replicas{%s,deployment=%q}" $namespace $name -}}
{{- $ready := printf "kube_deployment_status_replicas_ready{%s,deployment=%q}" $namespace $name -}}
{{- if eq .Values.workload.kind "StatefulSet" -}}
{{- $wanted = printf "kube_statefulset_replicas{%s,statefulset=%q}" $namespace $name -}}
{{- $ready = printf "kube_statefulset_status_replicas_ready{%s,statefulset=%q}" $namespace $name -}}
{{- end -}}
- alert: TritonNothingServes
  expr: |-
    (triton:pods_up:sum{ {{- $selector }}} == 0 or absent(up{ {{- $selector }}}))
      and on (namespace, release) triton:has_served:bool{ {{- $selector }}}
  for: 2m
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonNothingServes" "severity" "critical"
    "summary" (printf "No pod of %s answers" .Release.Name)
    "description" (printf "For 2 minutes none of the pods of %s has answered Prometheus, though one did before." .Release.Name)) | nindent 2 }}
- alert: TritonPodsNotReady
  expr: |-
    sum by (namespace) ({{ $wanted }}) - sum by (namespace) ({{ $ready }}) > 0
      or count by (namespace) (up{ {{- $selector }}} == 0) > 0
  for: {{ $start }}s
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonPodsNotReady" "severity" "warning"
    "summary" (printf "{{ $value }} pods of %s are not ready" .Release.Name)
    "description" (printf "{{ $value }} pods of %s have not been ready, or not answered Prometheus, for %s s: a minute longer than a pod is given to start." .Release.Name $start)) | nindent 2 }}
- alert: TritonRestarts
  expr: |-
    sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total{ {{- $namespace }},pod=~"{{ include "triton.monitoring.pods" . }}",container="tritonserver"}[1h])) > 2
      or max by (namespace, pod) (resets(nv_inference_request_success{ {{- $selector }}}[1h])) > 2
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonRestarts" "severity" "warning"
    "summary" (printf "A server of %s restarts again and again" .Release.Name)
    "description" "The server in pod {{ $labels.pod }} has restarted {{ $value | printf \"%.0f\" }} times within an hour.") | nindent 2 }}
- alert: TritonNoMetrics
  expr: absent(up{ {{- $selector }}})
  for: 15m
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonNoMetrics" "severity" "warning"
    "summary" (printf "Nothing of %s is scraped: its other alerts are blind" .Release.Name)
    "description" (printf "For 15 minutes Prometheus has had no target with namespace %s and release %s. Until it has, no other alert of this release can fire." .Release.Namespace .Release.Name)) | nindent 2 }}
{{- if gt (int .Values.gpu.count) 0 }}
- alert: TritonGpuMemoryHigh
  expr: nv_gpu_memory_used_bytes{ {{- $selector }}} / nv_gpu_memory_total_bytes{ {{- $selector }}} > {{ include "triton.monitoring.number" .Values.alerts.gpuMemoryFraction }}
  for: 10m
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonGpuMemoryHigh" "severity" "warning"
    "summary" (printf "A GPU of %s is almost full" .Release.Name)
    "description" (printf "{{ $value | humanizePercentage }} of the memory of GPU {{ $labels.gpu_uuid }} in pod {{ $labels.pod }} has been in use for 10 minutes, more than %s: the next model, or a larger batch, may find none."
      (include "triton.monitoring.percent" .Values.alerts.gpuMemoryFraction))) | nindent 2 }}
{{- end }}
{{- with .Values.alerts.engineMaxAgeDays }}
{{- $days := float64 . }}
- alert: TritonEngineOld
  expr: (time() - min by (namespace) (kube_pod_start_time{ {{- $namespace }},pod=~"{{ include "triton.monitoring.pods" $ }}"})) / 86400 > {{ include "triton.monitoring.number" $days }}
  for: 1h
  {{- include "triton.alerts.words" (dict "root" $ "alert" "TritonEngineOld" "severity" "warning"
    "summary" (printf "Engines of %s are older than %v days" $.Release.Name $days)
    "description" (printf "The oldest pod of %s has run for {{ $value | printf \"%%.0f\" }} days, more than %v. Engines are loaded when a pod starts, so they are at least as old; how much older no metric says." $.Release.Name $days)) | nindent 2 }}
{{- end }}
{{- if include "triton.autoscaled" . | eq "true" }}
{{- $hpa := .Values.autoscaling.keda.enabled | ternary (printf "keda-hpa-%s" $name) $name }}
{{- $depth := include "triton.monitoring.number" .Values.autoscaling.queueDepthPerPod }}
- alert: TritonAutoscalerAtMax
  expr: |-
    sum by (namespace) (kube_horizontalpodautoscaler_status_current_replicas{ {{- $namespace }},horizontalpodautoscaler={{ $hpa | quote }}}) >= {{ .Values.autoscaling.maxReplicas }}
      and on (namespace) avg by (namespace) (triton:queue_depth:sum{ {{- $selector }}}) > {{ $depth }}
  for: 15m
  {{- include "triton.alerts.words" (dict "root" . "alert" "TritonAutoscalerAtMax" "severity" "warning"
    "summary" (printf "%s has all the pods it may have, and requests still queue" .Release.Name)
    "description" (printf "%s has had {{ $value }} pods, the most it may have, for 15 minutes, and more than %s requests wait in each." .Release.Name $depth)) | nindent 2 }}
{{- end }}
{{- end }}
