{{/* On which nodes a pod may run. */}}

{{- define "triton.gpuToleration" -}}
key: nvidia.com/gpu
operator: Exists
effect: NoSchedule
{{- end -}}

{{/* The affinity of the values, and in each of its terms (any one is enough) the GPU that the engines were built for. */}}
{{- define "triton.affinity" -}}
{{- $affinity := deepCopy .Values.workload.affinity -}}
{{- if .Values.gpu.product -}}
{{- $gpu := dict "key" "nvidia.com/gpu.product" "operator" "In" "values" (list .Values.gpu.product) -}}
{{- $node := default dict $affinity.nodeAffinity -}}
{{- $required := default dict $node.requiredDuringSchedulingIgnoredDuringExecution -}}
{{- $terms := list -}}
{{- range default (list dict) $required.nodeSelectorTerms -}}
{{- $terms = append $terms (merge (dict "matchExpressions" (append (default list .matchExpressions) $gpu)) .) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}
