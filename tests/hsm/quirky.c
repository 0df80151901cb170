/* SoftHSM behind a module that behaves as other devices do. The environment says how, and may say so anew at any time:
   QUIRKY_TARGET the real module and QUIRKY_TARGET_PIN its PIN, QUIRKS a list of words, QUIRKY_PIN the PIN this module
   wants, QUIRKY_LOG a file that gets a line for every log-in: "user", "again" (CKU_CONTEXT_SPECIFIC) or "pad", with ok or
   the reason. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST ours, *real;
static int wrong, sessions, confirmed;

static int quirk(const char *name) {
  const char *at = getenv("QUIRKS");
  size_t length = strlen(name);
  for (; at && (at = strstr(at, name)); at += length)
    if ((at == getenv("QUIRKS") || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return 1;
  return 0;
}

static CK_RV logged(const char *who, CK_RV rv) {
  FILE *log = getenv("QUIRKY_LOG") ? fopen(getenv("QUIRKY_LOG"), "a") : NULL;
  if (log) {
    fprintf(log, "%s %s\n", who, rv == CKR_OK ? "ok" : rv == CKR_PIN_INCORRECT ? "wrong" : "refused");
    fclose(log);
  }
  return rv;
}

static CK_RV initialize(void *arguments) {
  if (quirk("hangs")) for (;;) pause();
  if (quirk("crashes")) abort();
  sessions = 0;
  return real->C_Initialize(arguments);
}

static CK_RV slot_list(CK_BBOOL present, CK_SLOT_ID *slots, unsigned long *count) {
  if (quirk("pulled") && present) return *count = 0, CKR_OK;
  return real->C_GetSlotList(present, slots, count);
}

static CK_RV slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
  CK_RV rv = real->C_GetSlotInfo(slot, info);
  if (quirk("hardware")) info->flags |= CKF_HW_SLOT;
  return rv;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
  if (quirk("pulled")) return CKR_TOKEN_NOT_PRESENT;
  CK_RV rv = real->C_GetTokenInfo(slot, info);
  if (quirk("pad")) info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
  if (quirk("locks") && wrong == 2) info->flags |= CKF_USER_PIN_FINAL_TRY;
  if (quirk("locks") && wrong >= 3) info->flags |= CKF_USER_PIN_LOCKED;
  return rv;
}

static CK_RV mechanisms(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, unsigned long *count) {
  CK_RV rv = real->C_GetMechanismList(slot, list, count);
  if (!list || rv != CKR_OK) return rv;
  unsigned long kept = 0;
  for (unsigned long i = 0; i < *count; i++) {
    if (quirk("no-ecdh") && list[i] == CKM_ECDH1_DERIVE) continue;
    if (quirk("no-keygen") && list[i] == CKM_EC_KEY_PAIR_GEN) continue;
    list[kept++] = quirk("hashing-only") && list[i] == CKM_ECDSA ? CKM_ECDSA_SHA256 : list[i];
  }
  if (quirk("garbage") && kept < *count) list[kept] = 0x7f0011223344UL;
  *count = kept;
  return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session) {
  if (quirk("pulled")) return CKR_DEVICE_REMOVED;
  if (quirk("read-only") && flags & CKF_RW_SESSION) return CKR_TOKEN_WRITE_PROTECTED;
  if (quirk("one-session") && sessions >= 1) return CKR_SESSION_COUNT;
  CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
  sessions += rv == CKR_OK;
  return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session) {
  CK_RV rv = real->C_CloseSession(session);
  sessions -= rv == CKR_OK;
  return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, unsigned long length) {
  const char *right = getenv("QUIRKY_PIN"), *target = getenv("QUIRKY_TARGET_PIN");
  int is_right = pin && length == strlen(right) && !memcmp(pin, right, length);
  if (quirk("locked") || (quirk("locks") && wrong >= 3)) return logged("user", CKR_PIN_LOCKED);
  if (user == CKU_CONTEXT_SPECIFIC) {
    confirmed = is_right;
    return logged("again", confirmed ? CKR_OK : CKR_PIN_INCORRECT);
  }
  if (quirk("pad") && pin) return logged("user", CKR_ARGUMENTS_BAD);
  if (quirk("pad")) return logged("pad", real->C_Login(session, user, (unsigned char *)target, strlen(target)));
  if (!is_right) return wrong++, logged("user", CKR_PIN_INCORRECT);
  CK_RV rv = real->C_Login(session, user, (unsigned char *)target, strlen(target));
  if (rv == CKR_OK) wrong = 0;
  return logged("user", rv);
}

static CK_RV attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *list, CK_ULONG count) {
  CK_RV rv = real->C_GetAttributeValue(session, object, list, count);
  for (unsigned long i = 0; i < count; i++) {
    if (list[i].ulValueLen == CK_UNAVAILABLE_INFORMATION) continue;
    if (quirk("raw-points") && list[i].type == CKA_EC_POINT) {
      list[i].ulValueLen -= 2;
      if (list[i].pValue) memmove(list[i].pValue, (char *)list[i].pValue + 2, list[i].ulValueLen);
    }
    if (quirk("pin-always") && list[i].type == CKA_ALWAYS_AUTHENTICATE && list[i].pValue) *(char *)list[i].pValue = 1;
  }
  return rv;
}

/* The space for a raw point is two bytes less than the real module wants. */
static CK_RV roomy_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *list, CK_ULONG count) {
  CK_ATTRIBUTE copy[64];
  char point[256];
  void *wanted = NULL;
  unsigned long at = 0;
  if (!quirk("raw-points") || count > 64) return attributes(session, object, list, count);
  memcpy(copy, list, count * sizeof *list);
  for (unsigned long i = 0; i < count; i++) {
    if (copy[i].type != CKA_EC_POINT || !copy[i].pValue) continue;
    at = i, wanted = copy[i].pValue;
    copy[i].pValue = point, copy[i].ulValueLen = sizeof point;
  }
  CK_RV rv = attributes(session, object, copy, count);
  if (wanted) {
    if (copy[at].ulValueLen != CK_UNAVAILABLE_INFORMATION) memcpy(wanted, point, copy[at].ulValueLen);
    copy[at].pValue = wanted;
  }
  memcpy(list, copy, count * sizeof *list);
  return rv;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) {
  if (quirk("pulled")) return CKR_DEVICE_REMOVED;
  if (quirk("hashing-only") && mechanism->mechanism == CKM_ECDSA) return CKR_MECHANISM_INVALID;
  confirmed = 0;
  return real->C_SignInit(session, mechanism, key);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG size, CK_BYTE *out, CK_ULONG *length) {
  if (quirk("pulled")) return CKR_DEVICE_REMOVED;
  if (quirk("pin-always") && !confirmed) return CKR_USER_NOT_LOGGED_IN;
  return real->C_Sign(session, data, size, out, length);
}

static CK_RV random_bytes(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG length) {
  return quirk("pulled") ? CKR_DEVICE_REMOVED : real->C_GenerateRandom(session, out, length);
}

static CK_RV find(CK_SESSION_HANDLE session, CK_ATTRIBUTE *list, CK_ULONG count) {
  return quirk("pulled") ? CKR_DEVICE_REMOVED : real->C_FindObjectsInit(session, list, count);
}

static CK_RV make_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public, CK_ULONG publics,
                       CK_ATTRIBUTE *private, CK_ULONG privates, CK_OBJECT_HANDLE *made, CK_OBJECT_HANDLE *key) {
  if (quirk("full")) return CKR_DEVICE_MEMORY;
  return real->C_GenerateKeyPair(session, mechanism, public, publics, private, privates, made, key);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
  if (!real) {
    void *library = dlopen(getenv("QUIRKY_TARGET"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
    ours = *real;
    ours.C_Initialize = initialize, ours.C_GetSlotList = slot_list, ours.C_GetTokenInfo = token_info;
    ours.C_GetSlotInfo = slot_info, ours.C_GetMechanismList = mechanisms, ours.C_OpenSession = open_session;
    ours.C_CloseSession = close_session, ours.C_Login = login, ours.C_GetAttributeValue = roomy_attributes;
    ours.C_SignInit = sign_init, ours.C_Sign = sign, ours.C_GenerateKeyPair = make_pair;
    ours.C_GenerateRandom = random_bytes, ours.C_FindObjectsInit = find;
  }
  *list = &ours;
  return CKR_OK;
}
