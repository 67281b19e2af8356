{{/* Engines that the cluster builds: what the Jobs do, and how the pods know that they are done. */}}

{{/*
What decides a plan, in eight digits. Labels and all else of the pod are not in it: they make no other plan.
(dict "root" $ "job" JOB)
*/}}
{{- define "triton.engineBuildHash" -}}
{{- dict "image" (include "triton.engineBuildImage" .root) "command" .job.command "request" (default "" .job.request)
  "product" (include "triton.engineBuildProduct" .) | toJson | sha256sum | trunc 8 -}}
{{- end -}}

{{/* What tells one Job from another: all of it, since a Job cannot be changed. One that differs in a label alone finds its plan. */}}
{{- define "triton.engineBuildName" -}}
{{- include "triton.engineBuildSpec" . | sha256sum | trunc 8 -}}
{{- end -}}

{{- define "triton.engineBuildImage" -}}
{{- default (include "triton.image" .) .Values.engineBuild.image -}}
{{- end -}}

{{- define "triton.engineBuildProduct" -}}
{{- default .root.Values.gpu.product .job.gpuProduct -}}
{{- end -}}

{{/* The plan that the command writes, below /work, where a word of it says so as trtexec has it; empty where none does. */}}
{{- define "triton.engineBuildPlan" -}}
{{- $plan := "" -}}
{{- range .command -}}
{{- if hasPrefix "--saveEngine=/work/" . }}{{ $plan = trimPrefix "--saveEngine=/work/" . }}{{ end -}}
{{- end -}}
{{- $plan -}}
{{- end -}}

{{/* What all marks of one plan have in common: the plan's name, or the Job's where the plan is not known. */}}
{{- define "triton.engineBuildKey" -}}
{{- default .name (include "triton.engineBuildPlan" .) | replace "/" "_" -}}
{{- end -}}

{{/* The file beside a plan that says that this very plan is there, and whole. (dict "root" $ "job" JOB) */}}
{{- define "triton.engineBuildMark" -}}
.built-{{ include "triton.engineBuildKey" .job }}-{{ include "triton.engineBuildHash" . }}
{{- end -}}

{{/* What both scripts below are told: the folder, the plan's key, its digits, and the plan (empty: not known). */}}
{{- define "triton.engineBuildWords" -}}
{{- $plan := include "triton.engineBuildPlan" .job -}}
- engine-build
- /work
- {{ include "triton.engineBuildKey" .job | quote }}
- {{ include "triton.engineBuildHash" . | quote }}
- {{ ternary (printf "/work/%s" $plan) "" (ne $plan "") | quote }}
{{- end -}}

{{/*
Runs the command, unless the plan and its mark are there. It writes to another name, so that pods that start meanwhile find
the plan before it, whole, and its mark. Where the plan is not known the command writes over it: the marks go first.
*/}}
{{- define "triton.engineBuildScript" -}}
set -eu
folder=$1 key=$2 hash=$3 plan=$4
shift 4
mark="$folder/.built-$key-$hash"
if [ -e "$mark" ] && { [ -z "$plan" ] || [ -s "$plan" ]; }; then
  echo "nothing to do: $mark is there"
  exit 0
fi
if [ -n "$plan" ]; then
  rm -f "$mark" "$plan".building-????????
else
  rm -f "$folder/.built-$key-"???????? "$folder"/.built-????????
fi
exec "$@"
{{- end -}}

{{/*
Puts the plan into its place. At no moment there is a mark of a plan that is not there: the marks of others go, the plan
takes its name at once, and its own mark comes last. (`.built-` and eight digits alone are marks of older charts.)
*/}}
{{- define "triton.engineMarkScript" -}}
set -eu
folder=$1 key=$2 hash=$3 plan=$4
mark="$folder/.built-$key-$hash"
if [ -e "$mark" ]; then exit 0; fi
if [ -n "$plan" ] && [ ! -s "$plan.building-$hash" ]; then
  echo "the command has ended well and has not written $plan.building-$hash" >&2
  exit 1
fi
rm -f "$folder/.built-$key-"???????? "$folder"/.built-????????
if [ -n "$plan" ]; then mv -f "$plan.building-$hash" "$plan"; fi
touch "$mark"
{{- end -}}

{{/* "true" where the pods read their models from the claim that engines are built on. */}}
{{- define "triton.waitsForEngines" -}}
{{- $repository := .Values.modelRepository -}}
{{- if and .Values.engineBuild.enabled (eq $repository.source "persistentVolumeClaim") (eq $repository.persistentVolumeClaim.claimName .Values.engineBuild.claimName) }}true{{ end -}}
{{- end -}}

{{/*
The folder of the claim that a Job works in: its own subPath, or its modelFolder in the repository that the pods read from
that claim. (dict "root" $ "job" JOB)
*/}}
{{- define "triton.engineBuildFolder" -}}
{{- $claim := .root.Values.modelRepository.persistentVolumeClaim -}}
{{- $repository := ternary (default "" $claim.subPath | trimSuffix "/") "" (eq (include "triton.waitsForEngines" .root) "true") -}}
{{- ternary (list $repository .job.modelFolder | compact | join "/") (default "" .job.subPath) (not (empty .job.modelFolder)) -}}
{{- end -}}

{{/* The longest that a Job may take. */}}
{{- define "triton.engineBuildSeconds" -}}7200{{- end -}}

{{/*
The init container of the servers that waits until all engines are built. Without it a server would find no plan and end,
again and again, until the rollout is given up while the Job still runs. No hook of Helm's does it: a hook runs before the
ServiceAccount and the NetworkPolicy of its pods are there, Helm waits for it with a deadline of minutes, and plain
manifests have none.
*/}}
{{- define "triton.waitContainer" -}}
- name: wait-for-engines
  image: {{ include "triton.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - sh
    - -c
    - |
      for mark in "$@"; do
        until [ -e "$mark" ]; do
          echo "waits for the Job that ends with $mark"
          sleep 5
        done
      done
    - wait-for-engines
    {{- range $job := .Values.engineBuild.jobs }}
    {{- $of := dict "root" $ "job" $job }}
    - {{ list "/claim" (include "triton.engineBuildFolder" $of) (include "triton.engineBuildMark" $of) | compact | join "/" | quote }}
    {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    {{- include "triton.resources" (dict "root" . "gpu" false) | nindent 4 }}
  securityContext:
    {{- include "triton.containerSafety" . | nindent 4 }}
  volumeMounts:
    - {name: model-repository, mountPath: /claim, readOnly: true}
{{- end -}}

{{- define "triton.engineBuildSpec" -}}
{{- $root := .root -}}
{{- $job := .job -}}
{{- $folder := include "triton.engineBuildFolder" . -}}
backoffLimit: 1
activeDeadlineSeconds: {{ include "triton.engineBuildSeconds" $root }}
template:
  metadata:
    labels:
      {{- include "triton.podLabels" (list $root "engine-build") | nindent 6 }}
    {{- with $job.request }}
    annotations:
      tritonkit/request: {{ . | quote }}
    {{- end }}
  spec:
    restartPolicy: Never
    {{- include "triton.podSafety" $root | nindent 4 }}
    serviceAccountName: {{ include "triton.serviceAccountName" $root | quote }}
    {{- with include "triton.engineBuildProduct" . }}
    nodeSelector:
      nvidia.com/gpu.product: {{ . | quote }}
    {{- end }}
    tolerations:
      {{- prepend $root.Values.workload.tolerations (include "triton.gpuToleration" $root | fromYaml) | toYaml | nindent 6 }}
    initContainers:
      - name: trtexec
        image: {{ include "triton.engineBuildImage" $root | quote }}
        imagePullPolicy: {{ $root.Values.image.pullPolicy }}
        command:
          - sh
          - -c
          - |
            {{- include "triton.engineBuildScript" . | nindent 12 }}
          {{- include "triton.engineBuildWords" . | nindent 10 }}
          {{- $plan := printf "--saveEngine=/work/%s" (include "triton.engineBuildPlan" $job) }}
          {{- $new := printf "%s.building-%s" $plan (include "triton.engineBuildHash" .) }}
          {{- range $job.command }}
          - {{ ternary $new . (and (eq . $plan) (ne . "--saveEngine=/work/")) | quote }}
          {{- end }}
        env:
          - {name: HOME, value: /tmp}
        terminationMessagePolicy: FallbackToLogsOnError
        resources:
          requests: {cpu: {{ $job.cpu | quote }}, memory: {{ $job.memory }}}
          limits: {memory: {{ $job.memory }}, {{ $root.Values.gpu.resource }}: 1}
        securityContext:
          {{- include "triton.containerSafety" $root | nindent 10 }}
        volumeMounts:
          - name: work
            mountPath: /work
            {{- with $folder }}
            subPath: {{ . | quote }}
            {{- end }}
          - {name: scratch, mountPath: /tmp}
    containers:
      # Runs when the command has succeeded, and tells the pods that wait for it.
      - name: mark
        image: {{ include "triton.engineBuildImage" $root | quote }}
        imagePullPolicy: {{ $root.Values.image.pullPolicy }}
        command:
          - sh
          - -c
          - |
            {{- include "triton.engineMarkScript" . | nindent 12 }}
          {{- include "triton.engineBuildWords" . | nindent 10 }}
        terminationMessagePolicy: FallbackToLogsOnError
        resources:
          requests: {cpu: 10m, memory: 16Mi}
          limits: {memory: 64Mi}
        securityContext:
          {{- include "triton.containerSafety" $root | nindent 10 }}
        volumeMounts:
          - name: work
            mountPath: /work
            {{- with $folder }}
            subPath: {{ . | quote }}
            {{- end }}
    volumes:
      - name: work
        persistentVolumeClaim:
          claimName: {{ $root.Values.engineBuild.claimName | quote }}
      - name: scratch
        emptyDir: {}
{{- end -}}
