() => {
  // Lets a screen reader say the answer when it comes, and name the buttons that Gradio makes of pictures.
  const name = () => {
    for (const part of document.querySelectorAll('#words:not([role])')) {
      part.setAttribute('role', 'status');
      part.setAttribute('aria-live', 'polite');
    }
    for (const image of document.querySelectorAll('#answer button:not([aria-label]) > img[alt]')) {
      image.parentElement.setAttribute('aria-label', image.alt);
    }
  };
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
}
