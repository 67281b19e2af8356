{{/* Where the models come from. */}}

{{- define "triton.repositoryVolume" -}}
{{- with .Values.modelRepository -}}
{{- if eq .source "persistentVolumeClaim" -}}
- name: model-repository
  persistentVolumeClaim:
    claimName: {{ .persistentVolumeClaim.claimName | quote }}
{{- else if eq .source "objectStore" -}}
- name: model-repository
  emptyDir:
    sizeLimit: {{ .objectStore.sizeLimit | quote }}
{{- else if eq .source "configMap" -}}
- name: model-repository
  configMap:
    name: {{ include "triton.repositoryConfigMapName" $ }}
    items:
      {{- range $path, $_ := .configMap.files }}
      - {key: {{ include "triton.repositoryKey" $path }}, path: {{ $path | quote }}}
      {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Keys of a ConfigMap have no slashes. */}}
{{- define "triton.repositoryKey" -}}
{{- printf "%s.%s" (sha256sum . | trunc 12) (regexReplaceAll "[^-._a-zA-Z0-9]" (base .) "_") -}}
{{- end -}}

{{- define "triton.repositoryMounts" -}}
{{- $root := .Values.modelRepository.path -}}
{{- with .Values.modelRepository -}}
{{- if eq .source "persistentVolumeClaim" -}}
- name: model-repository
  mountPath: {{ $root }}
  {{- with .persistentVolumeClaim.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
  readOnly: true
{{- else if eq .source "objectStore" -}}
- {name: model-repository, mountPath: {{ $root }}, readOnly: true}
{{- else if eq .source "configMap" -}}
{{- /* One mount a model: the volume's own root holds a `..data`, which Triton would take for a model. */ -}}
{{- $models := dict -}}
{{- range $path, $_ := .configMap.files }}{{ $_ := set $models (splitList "/" $path | first) true }}{{ end -}}
{{- range $model := keys $models | sortAlpha }}
- {name: model-repository, mountPath: {{ printf "%s/%s" $root $model | quote }}, subPath: {{ $model | quote }}, readOnly: true}
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The init container that copies the repository out of an object store. */}}
{{- define "triton.fetchContainer" -}}
{{- $store := .Values.modelRepository.objectStore -}}
- name: fetch-models
  image: {{ $store.image | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if $store.command }}
  command:
    {{- toYaml $store.command | nindent 4 }}
  {{- else if hasPrefix "s3://" $store.uri }}
  command: [aws, s3, sync, --only-show-errors, $(MODEL_URI), $(MODEL_TARGET)]
  {{- else }}
  command: [gcloud, storage, rsync, --recursive, $(MODEL_URI), $(MODEL_TARGET)]
  {{- end }}
  env:
    - {name: HOME, value: /tmp}
    - {name: MODEL_URI, value: {{ $store.uri | trimSuffix "/" | quote }}}
    - {name: MODEL_TARGET, value: {{ .Values.modelRepository.path }}}
  {{- with $store.existingSecret }}
  envFrom:
    - secretRef: {name: {{ . | quote }}}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    {{- include "triton.resources" (dict "root" . "gpu" false) | nindent 4 }}
  securityContext:
    {{- include "triton.containerSafety" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: model-repository, mountPath: {{ .Values.modelRepository.path }}}
{{- end -}}
