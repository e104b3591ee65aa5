// Photos from the camera of the device, where the browser gives one.
const CAMERA_PROBLEMS = {
  NotAllowedError: "The browser does not let this page use the camera.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

/** Offer the camera: `onFiles` gets a list of one JPEG for each photo, `onProblem` a sentence. */
export function takePhotos(onFiles, onProblem) {
  const [open, panel, video, note] = ["open-camera", "camera", "video", "camera-note"].map((id) => document.getElementById(id));
  if (!navigator.mediaDevices?.getUserMedia) {
    open.hidden = true;
    note.hidden = false;
    note.textContent = window.isSecureContext
      ? "This browser has no camera."
      : "The camera needs a secure address: open this page through localhost or https.";
    return;
  }
  const stop = () => {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  };
  let isAsked = false; // a second click would leave the camera of the first on
  open.addEventListener("click", async () => {
    if (isAsked) return;
    isAsked = true;
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await video.play();
    } catch (problem) {
      stop();
      return onProblem(CAMERA_PROBLEMS[problem.name] ?? "The camera cannot be used.");
    } finally {
      isAsked = false;
    }
    panel.hidden = false;
    open.hidden = true;
    document.getElementById("take-photo").focus();
  });
  document.getElementById("close-camera").addEventListener("click", () => {
    stop();
    panel.hidden = true;
    open.hidden = false;
    open.focus();
  });
  let taken = 0;
  document.getElementById("take-photo").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    taken += 1;
    canvas.toBlob((blob) => onFiles([new File([blob], `photo ${taken}.jpg`, { type: "image/jpeg" })]), "image/jpeg", 0.95);
  });
}
