{{/* What every pod of the release has, so that a namespace of the level "restricted" takes it. */}}

{{- define "triton.podSafety" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.securityContext.runAsUser | int64 }}
  runAsGroup: {{ .Values.securityContext.runAsGroup | int64 }}
  fsGroup: {{ .Values.securityContext.fsGroup | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "triton.containerSafety" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
