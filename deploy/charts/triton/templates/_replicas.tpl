{{/*
How many pods the workload names; empty where an autoscaler alone decides.

What Helm last sent is its measure: a number that stood there and stands there no more is removed, and Kubernetes takes one
without a number for one pod. So, with an autoscaler:
- Nothing on the cluster, or rendered without one: no number. The autoscaler raises the one pod to its least.
- What is there was sent without a number, as its annotation tells: again none. What the autoscaler has set is nobody's to
  remove, neither at an upgrade nor at a rollback between two such revisions.
- What is there was sent with one, because it had no autoscaler then, or had none before: the live number, so that nothing
  changes. And again at every later upgrade, or that upgrade would remove it. A rollback sends the number that its
  revision had, and the autoscaler goes on from there. One of `helm rollback` to a revision without a number goes through
  one pod; `tritonkit deploy rollback` renders such a revision anew, so that it comes here.
The annotation, and not an autoscaler that is found, tells which it is: only it changes together with the number.
*/}}
{{- define "triton.replicas" -}}
{{- if ne (include "triton.autoscaled" .) "true" -}}
{{ .Values.workload.replicas }}
{{- else -}}
{{- $live := lookup "apps/v1" .Values.workload.kind .Release.Namespace (include "triton.fullname" .) | default dict -}}
{{- if and $live (ne (dig "metadata" "annotations" (include "triton.replicasKey" .) "" $live) "autoscaler") -}}
{{ dig "spec" "replicas" 1 $live | int }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "triton.replicasKey" -}}tritonkit/replicas{{- end -}}

{{/* The annotation of a workload that is sent without a number. */}}
{{- define "triton.replicasMark" -}}
{{- if not (include "triton.replicas" .) -}}
annotations:
  {{ include "triton.replicasKey" . }}: autoscaler
{{- end -}}
{{- end -}}
