// What an app may, in words.

const SCOPES = {
  openid: "to know who you are",
  api: "to use this server's services in your name",
};

export const scopeWords = (scope) => SCOPES[scope] ?? scope;
