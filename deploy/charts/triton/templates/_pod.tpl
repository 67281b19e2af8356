{{/* The pod of the Deployment or StatefulSet. */}}

{{- define "triton.podTemplate" -}}
metadata:
  labels:
    {{- include "triton.podLabels" (list . "server") | nindent 4 }}
  {{- $annotations := deepCopy .Values.workload.podAnnotations }}
  {{- if eq .Values.modelRepository.source "configMap" }}
  {{- $_ := set $annotations "checksum/models" (toJson .Values.modelRepository.configMap.files | sha256sum) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "triton.podSafety" . | nindent 2 }}
  serviceAccountName: {{ include "triton.serviceAccountName" . | quote }}
  terminationGracePeriodSeconds: {{ include "triton.gracePeriodSeconds" . }}
  {{- with .Values.workload.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.workload.runtimeClassName }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.workload.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "triton.affinity" . | fromYaml }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $tolerations := .Values.workload.tolerations }}
  {{- if gt (int .Values.gpu.count) 0 }}
  {{- $tolerations = prepend $tolerations (include "triton.gpuToleration" . | fromYaml) }}
  {{- end }}
  {{- with $tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.workload.topologySpread }}
  {{- if .enabled }}
  topologySpreadConstraints:
    - maxSkew: {{ .maxSkew }}
      topologyKey: {{ .topologyKey | quote }}
      whenUnsatisfiable: {{ .whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "triton.selectorLabels" $ | nindent 10 }}
      {{- if eq $.Values.workload.kind "Deployment" }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
  {{- end }}
  {{- end }}
  {{- if eq .Values.modelRepository.source "objectStore" }}
  initContainers:
    {{- include "triton.fetchContainer" . | nindent 4 }}
  {{- else if include "triton.waitsForEngines" . }}
  initContainers:
    {{- include "triton.waitContainer" . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "triton.serverContainer" . | nindent 4 }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: dev-shm
      emptyDir:
        medium: Memory
        sizeLimit: {{ .Values.sharedMemoryBytes | int64 | toString | quote }}
    {{- with include "triton.repositoryVolume" . }}
    {{- trim . | nindent 4 }}
    {{- end }}
    {{- with .Values.workload.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "triton.serverContainer" -}}
- name: tritonserver
  image: {{ include "triton.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # No shell and no wrapper: tritonserver is process 1, so that it gets the signal to stop.
  command: [tritonserver]
  args:
    {{- (include "triton.serverFlags" . | fromJson).flags | toYaml | nindent 4 }}
  env:
    - {name: HOME, value: /tmp}
    {{- if eq (int .Values.gpu.count) 0 }}
    # The image asks for all GPUs; a node's runtime would give them without the scheduler knowing.
    - {name: NVIDIA_VISIBLE_DEVICES, value: void}
    {{- end }}
    {{- if .Values.restrictedApis.enabled }}
    - name: TRITON_RESTRICTED_KEY
      valueFrom:
        secretKeyRef:
          name: {{ include "triton.restrictedSecretName" . | quote }}
          key: {{ .Values.restrictedApis.secretKey | quote }}
    {{- end }}
    {{- with .Values.workload.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: http, containerPort: {{ .Values.ports.http }}}
    - {name: grpc, containerPort: {{ .Values.ports.grpc }}}
    - {name: metrics, containerPort: {{ .Values.ports.metrics }}}
  {{- range $kind, $path := dict "startup" "ready" "readiness" "ready" "liveness" "live" }}
  {{ $kind }}Probe:
    httpGet: {path: /v2/health/{{ $path }}, port: http}
    {{- with index $.Values.probes $kind }}
    periodSeconds: {{ .periodSeconds }}
    timeoutSeconds: {{ .timeoutSeconds }}
    failureThreshold: {{ .failureThreshold }}
    {{- end }}
  {{- end }}
  {{- with int .Values.drain.preStopSeconds }}
  # The server has no state in which it answers but is not found any more: this pause is that state.
  lifecycle:
    preStop:
      {{- if semverCompare ">=1.30.0-0" $.Capabilities.KubeVersion.Version }}
      sleep: {seconds: {{ . }}}
      {{- else }}
      exec: {command: [sleep, {{ . | toString | quote }}]}
      {{- end }}
  {{- end }}
  # The last lines of the log tell why a server ended, where `kubectl describe` shows them.
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    {{- include "triton.resources" (dict "root" . "gpu" true) | nindent 4 }}
  securityContext:
    {{- include "triton.containerSafety" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: dev-shm, mountPath: /dev/shm}
    {{- with include "triton.repositoryMounts" . }}
    {{- trim . | nindent 4 }}
    {{- end }}
    {{- with .Values.workload.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
