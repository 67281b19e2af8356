{{/* Numbers that follow from others. */}}

{{/* A Kubernetes quantity of memory ("4Gi", "500M", 1024) in bytes. */}}
{{- define "triton.bytes" -}}
{{- if kindIs "string" . -}}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- $factor := get $factors (regexFind "[A-Za-z]*$" .) -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) $factor | ceil | int64 -}}
{{- else -}}
{{- . | int64 -}}
{{- end -}}
{{- end -}}

{{/* The release as a number that can be compared: 26.07 is 2607. */}}
{{- define "triton.release" -}}
{{- .Values.image.release | replace "." "" | atoi -}}
{{- end -}}

{{/* preStop + exit timeout + margin: how long a pod may take to go. */}}
{{- define "triton.drainSeconds" -}}
{{- add (int .Values.drain.preStopSeconds) (int .Values.drain.exitTimeoutSeconds) (int .Values.drain.marginSeconds) -}}
{{- end -}}

{{- define "triton.gracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.drain.terminationGracePeriodSeconds -}}
{{- include "triton.drainSeconds" . -}}
{{- else -}}
{{- .Values.drain.terminationGracePeriodSeconds | int -}}
{{- end -}}
{{- end -}}

{{/* The server's resources. /dev/shm is memory of the container, so it counts in its request and its limit.
     (dict "root" $ "gpu" BOOL) */}}
{{- define "triton.resources" -}}
{{- $values := .root.Values -}}
{{- $shm := $values.sharedMemoryBytes | int64 -}}
{{- $requests := deepCopy $values.resources.requests -}}
{{- $limits := deepCopy $values.resources.limits -}}
{{- range $resources := list $requests $limits -}}
{{- with $resources.memory }}{{ $_ := set $resources "memory" (include "triton.bytes" . | atoi | add $shm | toString) }}{{ end -}}
{{- end -}}
{{- if not (or $requests.memory $limits.memory) }}{{ $_ := set $requests "memory" ($shm | toString) }}{{ end -}}
{{- if and .gpu (gt (int $values.gpu.count) 0) }}{{ $_ := set $limits $values.gpu.resource (int $values.gpu.count) }}{{ end -}}
{{- $resources := dict "requests" $requests -}}
{{- with $limits }}{{ $_ := set $resources "limits" . }}{{ end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The image by digest where there is one, else by tag. */}}
{{- define "triton.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default (printf "%s-py3" .release) .tag }}
{{- end -}}
{{- end -}}
{{- end -}}
