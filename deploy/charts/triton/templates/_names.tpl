{{/*
Names and labels. A name leaves room for what other objects put behind it: 63 characters is the most there may be. One
that is longer is refused: two releases whose names are cut to the same one would have each other's objects.
*/}}

{{- define "triton.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "triton.fullname" -}}
{{- $name := include "triton.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- if gt (len $full) 48 -}}
{{- fail (printf "the release's name is too long: its objects would be called %s, of %d characters, and 48 are the most. Take a shorter name, or set fullnameOverride" $full (len $full)) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* What a server pod is found by. These never change in the life of a release: no version, no component. */}}
{{- define "triton.selectorLabels" -}}
app.kubernetes.io/name: {{ include "triton.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of an object of the release. */}}
{{- define "triton.labels" -}}
{{- include "triton.componentLabels" (list . "server") -}}
{{- end -}}

{{/* (list $ COMPONENT): the same for an object of another component. */}}
{{- define "triton.componentLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/version" $root.Values.image.release
  "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $own = merge $own (include "triton.constantLabels" . | fromYaml) -}}
{{- merge $own $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* (list $ COMPONENT): labels of a pod. The chart's version is not among them: pods stay when only the chart moves. */}}
{{- define "triton.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := include "triton.constantLabels" . | fromYaml -}}
{{- if eq (index . 1) "server" }}{{ $own = merge $own $root.Values.workload.podLabels }}{{ end -}}
{{- merge $own $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "triton.constantLabels" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- if eq $component "engine-build" -}}
app.kubernetes.io/name: {{ include "triton.name" $root }}-engine-build
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
{{- else -}}
{{ include "triton.selectorLabels" $root }}
{{- end }}
app.kubernetes.io/component: {{ $component }}
app.kubernetes.io/part-of: tritonkit
{{- end -}}

{{- define "triton.httpServiceName" -}}
{{- include "triton.fullname" . -}}
{{- end -}}

{{- define "triton.grpcServiceName" -}}
{{- include "triton.fullname" . -}}-grpc
{{- end -}}

{{- define "triton.metricsServiceName" -}}
{{- include "triton.fullname" . -}}-metrics
{{- end -}}

{{/* The Service that gives the pods of a StatefulSet their names. */}}
{{- define "triton.governingServiceName" -}}
{{- include "triton.fullname" . -}}-pods
{{- end -}}

{{- define "triton.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "triton.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "triton.restrictedSecretName" -}}
{{- default (printf "%s-restricted" (include "triton.fullname" .)) .Values.restrictedApis.existingSecret -}}
{{- end -}}

{{- define "triton.repositoryConfigMapName" -}}
{{- include "triton.fullname" . -}}-models
{{- end -}}

{{/* "true" where an autoscaler decides on the number of pods. */}}
{{- define "triton.autoscaled" -}}
{{- or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}
{{- end -}}
