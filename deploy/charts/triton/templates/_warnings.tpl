{{/* What is allowed and should be known; a line each. */}}
{{- define "triton.warnings" -}}
{{- $values := .Values }}
{{- $release := include "triton.release" . | atoi }}
{{- with include "triton.knownHoles" . }}
Triton {{ $values.image.release }} has known holes ({{ . }}): take 26.07 or later.
{{- end }}
{{- if not (include "triton.hasFlag" (list . "http-max-input-size")) }}
Triton {{ $values.image.release }} has no limit for HTTP bodies: server.maxHttpInputBytes is left out.
{{- end }}
{{- if lt $release 2604 }}
Triton {{ $values.image.release }} says that it is ready when the process of a Python model has died (until 26.04): only failing requests show it.
{{- end }}
{{- if not $values.restrictedApis.enabled }}
No API is restricted: whoever reaches a port can read other clients' shared memory and change logging and traces.
{{- end }}
{{- $open := list }}
{{- range list "shared-memory" "model-repository" "trace" "logging" }}{{ if not (has . $values.restrictedApis.apis) }}{{ $open = append $open . }}{{ end }}{{ end }}
{{- if and $values.restrictedApis.enabled $open }}
restrictedApis.apis takes the place of the chart's list, and {{ join ", " $open }} {{ ternary "is" "are" (eq (len $open) 1) }} not in it: whoever reaches a port may use {{ ternary "it" "them" (eq (len $open) 1) }} without a key.
{{- end }}
{{- if not $values.networkPolicy.enabled }}
There is no NetworkPolicy: every pod of the cluster reaches the server, and what a model does reaches the outside.
{{- end }}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.ingressFrom) (or $values.gateway.grpcRoute.enabled $values.gateway.httpRoute.enabled (ne $values.service.http.type "ClusterIP")) }}
Clients come from outside, and networkPolicy.ingressFrom lets in pods of this namespace alone: name the gateway there.
{{- end }}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.metricsFrom) (or $values.metrics.podMonitor.enabled $values.metrics.serviceMonitor.enabled $values.metrics.prometheusRule.enabled (eq (include "triton.autoscaled" $) "true")) }}
Prometheus scrapes the pods, and networkPolicy.metricsFrom lets in pods of this namespace alone: name Prometheus's namespace there if it is another one.
{{- end }}
{{- if and $values.engineBuild.enabled (ne (include "triton.waitsForEngines" .) "true") }}
engineBuild builds on the claim {{ $values.engineBuild.claimName }}, and the pods read their models from elsewhere: nothing brings the plans to them, and they do not wait for one.
{{- end }}
{{- if not (int $values.drain.preStopSeconds) }}
drain.preStopSeconds is 0, and Triton says that it is ready until nobody listens any more: what is sent to a pod that goes, by whoever has not heard of it yet, is lost at every rollout.
{{- end }}
{{- with $values.podDisruptionBudget }}
{{- $pods := $values.workload.replicas }}
{{- if eq (include "triton.autoscaled" $) "true" }}{{ $pods = $values.autoscaling.minReplicas }}{{ end }}
{{- if and .enabled (or (eq (toString .minAvailable) "100%") (and (not (kindIs "string" .minAvailable)) (not (kindIs "invalid" .minAvailable)) (ge (int .minAvailable) (int $pods)))) }}
podDisruptionBudget.minAvailable {{ .minAvailable }} of {{ $pods }} pods lets no node be drained.
{{- end }}
{{- if and .enabled (kindIs "invalid" .minAvailable) (has (toString .maxUnavailable) (list "0" "0%")) }}
podDisruptionBudget.maxUnavailable {{ .maxUnavailable }} lets no node be drained.
{{- end }}
{{- end }}
{{- with $values.modelRepository }}
{{- if and (eq .source "persistentVolumeClaim") (not .persistentVolumeClaim.subPath) }}
The models are in the root of a claim: Triton takes every folder there, lost+found too, for a model. Put them in a folder and name it in modelRepository.persistentVolumeClaim.subPath.
{{- end }}
{{- end }}
{{- end -}}
