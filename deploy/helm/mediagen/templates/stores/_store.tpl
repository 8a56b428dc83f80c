{{/*
The small stores for tests: one pod each, with a volume. Their images bring user ids of their own, which is why there are numbers here
and nowhere else.
*/}}

{{/* What a StatefulSet of a store begins with: dict root, component, store (its values). */}}
{{- define "mediagen.store.spec" -}}
serviceName: {{ include "mediagen.componentName" . }}
replicas: 1
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ .store.storage.retain | ternary "Retain" "Delete" }}
  whenScaled: Retain
selector:
  matchLabels:
    {{- include "mediagen.selectorLabels" . | nindent 4 }}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .store.storage.className }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests: {storage: {{ .store.storage.size }}}
{{- end }}

{{/* What its pod begins with: dict root, uid. */}}
{{- define "mediagen.store.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "mediagen.pullSecrets" .root }}
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  # PostgreSQL and Erlang refuse files that the group may write, which is what a change at every mount would make of them.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mediagen.store.container" -}}
image: {{ include "mediagen.image" (dict "root" .root "image" .store.image) }}
imagePullPolicy: {{ .store.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "mediagen.store.service" }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "mediagen.metadata" . | nindent 2 }}
spec:
  {{- with include "mediagen.ipFamilies" .root | trim }}{{ nindent 2 . }}{{ end }}
  selector:
    {{- include "mediagen.selectorLabels" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - {name: {{ $name }}, port: {{ $port }}, targetPort: {{ $name }}}
    {{- end }}
{{- end }}
